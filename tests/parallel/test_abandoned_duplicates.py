"""A shard that two workers compute, in a step that is abandoned."""

from distbp.parallel.host.decisions import Compare, Compute
from distbp.parallel.host.supervisor import Supervisor
from distbp.parallel.step.shards import Span


def with_a_straggler() -> Supervisor:
    """Worker 1 has computed the shards of the straggler 0, which is still computing them."""
    made = Supervisor(2, 100, 4, timeout=10.0, wait=60.0)
    for number in range(2):
        made.joined(number, 0.0)
    made.begin(0, Span(0, 4), 0.0)
    made.reported(1, 0, Span(2, 4), 0.1)
    made.tick(0.5, {})
    made.reported(1, 0, Span(0, 2), 0.7)
    return made


def test_a_stragglers_report_on_the_current_step_is_compared() -> None:
    assert with_a_straggler().reported(0, 0, Span(0, 2), 0.9) == [Compare(Compute(0, 0, Span(0, 2), 0), first=1)]


def test_a_stragglers_report_on_an_abandoned_step_is_not_compared() -> None:
    """By then, the rows of the first result may have sums of the repeated step."""
    made = with_a_straggler()
    made.abandon()
    assert made.reported(0, 0, Span(0, 2), 0.9) == []
    assert made.idle == [0, 1]
