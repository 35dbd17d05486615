"""A shard that two workers compute, in a step that is abandoned."""

from distbp.parallel.host.decisions import Compare, Compute
from distbp.parallel.host.supervisor import Supervisor
from distbp.parallel.step.shards import Span


def with_a_finished_backup_task() -> Supervisor:
    """Return a supervisor: worker 1 ran the backup task of worker 0, which still computes."""
    made = Supervisor(2, 100, 4, timeout=10.0, wait=60.0)
    for number in range(2):
        made.joined(number, 0.0)
    made.begin(0, Span(0, 4), 0.0)
    made.reported(1, 0, Span(2, 4), 0.1)
    made.tick(0.5, {})
    made.reported(1, 0, Span(0, 2), 0.7)
    return made


def test_the_late_answer_of_a_completed_step_is_compared_with_the_first() -> None:
    assert with_a_finished_backup_task().reported(0, 0, Span(0, 2), 0.9) == [
        Compare(Compute(0, 0, Span(0, 2), 0), first=1)
    ]


def test_the_late_answer_of_an_abandoned_step_is_not_compared() -> None:
    """The rows of the first answer may have been overwritten by then."""
    made = with_a_finished_backup_task()
    made.abandon()
    assert made.reported(0, 0, Span(0, 2), 0.9) == []
    assert made.idle == [0, 1]
