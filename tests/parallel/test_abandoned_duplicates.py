"""A shard that two workers compute, in a step that comes to nothing."""

from distbp.parallel.host.decisions import Compare, Compute
from distbp.parallel.host.supervisor import Supervisor
from distbp.parallel.step.shards import Span


def with_a_late_twin() -> Supervisor:
    """Worker 1 has computed what worker 0 is late with; worker 0 still computes it."""
    made = Supervisor(2, 100, 4, timeout=10.0, wait=60.0)
    for number in range(2):
        made.joined(number, 0.0)
    made.begin(0, Span(0, 4), 0.0)
    made.reported(1, 0, Span(2, 4), 0.1)
    made.tick(0.5, {})
    made.reported(1, 0, Span(0, 2), 0.7)
    return made


def test_the_late_answer_of_a_step_that_stands_is_compared_with_the_first_one() -> None:
    assert with_a_late_twin().reported(0, 0, Span(0, 2), 0.9) == [Compare(Compute(0, 0, Span(0, 2), 0), first=1)]


def test_the_late_answer_of_a_step_that_was_abandoned_is_compared_with_nothing() -> None:
    """The rows of the first answer may hold what is computed in its place by then."""
    made = with_a_late_twin()
    made.abandon()
    assert made.reported(0, 0, Span(0, 2), 0.9) == []
    assert made.idle == [0, 1]
