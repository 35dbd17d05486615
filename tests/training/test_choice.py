"""Decisions of ``--workers auto`` for given lists of events and times."""

import random
import statistics
from itertools import count

import pytest

from distbp.config import Config, Workers
from distbp.errors import DivergedError
from distbp.parallel.step.records import StepRecord
from distbp.training.executors.choice import (
    EXCHANGE_SECONDS,
    RAY_START_SECONDS,
    Choice,
    Speed,
    State,
    faster_workers_note,
    slower_workers_note,
)
from distbp.training.executors.timing import median_step

BIT = 1e-6
"""Relative difference that is certainly enough to be on one side of a threshold."""


def halved(step):
    """Return the speed of steps that two workers could halve, apart from the exchange."""
    return Speed(step, step / 2, 2)


def states_after(choice, speed, *events):
    """Give the choice the measured speed, then call methods by name; return all states."""
    states = [choice.state]
    choice.process_measured(speed)
    states.append(choice.state)
    for name, given in events:
        getattr(choice, name)(given)
        states.append(choice.state)
    return states


@pytest.mark.parametrize(("steps", "tried"), [(1.0 - BIT, False), (1.0 + BIT, True)])
def test_ray_is_started_only_where_workers_could_save_more_than_its_start_takes(steps, tried):
    saved_per_step = 0.5 - EXCHANGE_SECONDS
    choice = Choice(100, 2, steps * RAY_START_SECONDS / saved_per_step)
    end = State.MEASURING_WORKERS if tried else State.PROCESS
    assert states_after(choice, halved(1.0)) == [State.MEASURING_PROCESS, end]
    if not tried:
        assert choice.note == (
            "training in this process (100 samples/s): 2 workers would save at most 6.0 s, starting Ray takes 6 s"
        )


@pytest.mark.parametrize(
    ("workers_step", "end"),
    [
        (0.6, State.WORKERS),
        (1.0 - BIT, State.WORKERS),
        (1.0, State.PROCESS),
        (1.0 + BIT, State.PROCESS),
        (5.0, State.PROCESS),
        (float("inf"), State.PROCESS),
    ],
)
def test_the_faster_executor_is_kept_and_a_tie_uses_no_workers(workers_step, end):
    choice = Choice(100, 2, 1000)
    states = states_after(choice, halved(1.0), ("workers_measured", workers_step))
    assert states == [State.MEASURING_PROCESS, State.MEASURING_WORKERS, end]
    assert choice.note == (
        f"training with 2 workers ({100 / workers_step:,.0f} samples/s): this process reaches 100"
        if end is State.WORKERS
        else f"training in this process (100 samples/s): 2 workers reach {100 / workers_step:,.0f}"
    )


def test_training_stays_in_this_process_if_workers_are_not_available():
    choice = Choice(100, 2, 1000)
    states = states_after(choice, halved(1.0), ("workers_failed", "Ray did not start"))
    assert states == [State.MEASURING_PROCESS, State.MEASURING_WORKERS, State.PROCESS]
    assert choice.note == "training in this process (100 samples/s): Ray did not start"


@pytest.mark.parametrize("workers", [0, 1])
def test_ray_is_not_started_for_one_core_or_one_shard(workers):
    choice = Choice(100, workers, 10**12)
    assert states_after(choice, halved(1.0)) == [State.MEASURING_PROCESS, State.PROCESS]
    assert choice.note == "training in this process (100 samples/s)"


def test_ray_is_not_started_for_steps_shorter_than_an_exchange():
    choice = Choice(100, 2, 10**12)
    assert states_after(choice, halved(EXCHANGE_SECONDS)) == [State.MEASURING_PROCESS, State.PROCESS]
    assert choice.note.endswith(": 2 workers would reach at most 666,667")


def test_events_in_the_wrong_state_are_refused():
    for event in (("workers_measured", 0.5), ("workers_failed", "late")):
        with pytest.raises(AssertionError):
            getattr(Choice(100, 2, 1000), event[0])(event[1])
        done = Choice(100, 2, 1000)
        states_after(done, halved(1.0), ("workers_measured", 0.5))
        with pytest.raises(AssertionError):
            getattr(done, event[0])(event[1])


@pytest.mark.parametrize(
    ("workers", "shards", "expected"),
    [
        (1, 4, 4 * 0.2 + 0.1),
        (2, 4, 2 * 0.2 + 0.1),
        (3, 4, 2 * 0.2 + 0.1),  # one of the three workers has two shards
        (4, 4, 0.2 + 0.1),
        (9, 4, 0.2 + 0.1),
        (2, 1, 0.2 + 0.1),
        (2, 3, 2 * 0.2 + 0.1),
    ],
)
def test_the_best_step_of_workers_is_the_largest_share_the_update_and_an_exchange(workers, shards, expected):
    speed = Speed(shards * 0.2 + 0.1, 0.2, shards)
    assert speed.with_workers(workers) == pytest.approx(expected + EXCHANGE_SECONDS, rel=1e-12)


def test_an_update_measured_as_no_time_adds_no_gain():
    assert Speed(0.4, 0.3, 2).with_workers(2) == pytest.approx(0.3 + EXCHANGE_SECONDS, rel=1e-12)


class Steps:
    """Executor whose steps take the given seconds on a simulated clock."""

    def __init__(self, seconds):
        self._seconds = iter(seconds)
        self.now, self.step, self.is_closed = 1000.0, 0, False

    def clock(self):
        return self.now

    def steps(self, stop):
        try:
            while self.step < stop:
                seconds = next(self._seconds)
                self.now += seconds
                self.step += 1
                yield StepRecord(self.step - 1, 1, 0.0, 0, seconds)
        finally:
            self.is_closed = True


def test_the_first_and_single_slow_steps_do_not_count():
    path = Steps([9.0, 9.0, 0.1, 0.1, 50.0, 0.1, 0.1])
    assert median_step(path, at_least=59.0, clock=path.clock) == 0.1
    assert path.is_closed


@pytest.mark.parametrize(
    ("seconds", "at_least", "done"),
    [
        (1.0, 0.5, 5),  # two to warm up, and at least three measured
        (1.0, 5.0, 6),  # five seconds of measurement must pass
        (0.125, 2.0, 17),
        (0.0, 2.0, 400),  # at most 400 steps
    ],
)
def test_the_number_of_measured_steps_is_bounded(seconds, at_least, done):
    path = Steps(seconds for _ in count())
    assert median_step(path, at_least, clock=path.clock) == seconds
    assert path.step == done


def test_steps_that_diverge_at_once_count_as_infinitely_slow():
    class Diverging(Steps):
        def steps(self, stop):
            raise DivergedError("the cost", 0, 0)
            yield

    path = Diverging([])
    assert median_step(path, clock=path.clock) == float("inf")


@pytest.mark.parametrize("seed", range(20))
def test_noise_does_not_change_a_clear_choice(seed):
    """Steps vary by 20 %, one in eight takes ten times as long; workers are 1.5 times as fast."""
    chance = random.Random(seed)

    def noisy(step):
        path = Steps(step * chance.uniform(0.8, 1.2) * (10 if chance.random() < 1 / 8 else 1) for _ in count())
        return median_step(path, at_least=100 * step, clock=path.clock)

    for process, workers, end in ((1.5, 1.0, State.WORKERS), (1.0, 1.5, State.PROCESS)):
        choice = Choice(100, 2, 10_000)
        assert states_after(choice, halved(noisy(process)), ("workers_measured", noisy(workers)))[-1] is end


def settings():
    return Config(hidden=(8,), shards=4, workers=0).settled("classification")


@pytest.mark.parametrize("workers", [1, 2, "2..6"])
@pytest.mark.parametrize(("step", "speaks"), [(0.5, False), (1.0, False), (1.1 - BIT, False), (1.1 + BIT, True)])
def test_a_note_is_given_if_workers_are_a_tenth_slower(workers, step, speaks):
    text = slower_workers_note(Workers(workers), 1000, step=step, process_step=1.0)
    assert (text is not None) == speaks
    if text is not None:
        assert text == (
            f"{workers} workers reach 909 samples/s, this process alone would reach about 1,000: --workers 0 or auto "
            "is faster here"
        )


@pytest.mark.parametrize(("times", "speaks"), [(1 - BIT, False), (1 + BIT, True)])
def test_workers_are_suggested_if_they_save_twice_the_start_of_ray(times, speaks):
    step, saved = 0.1, 0.05 - EXCHANGE_SECONDS
    left = times * 2 * RAY_START_SECONDS / saved
    text = faster_workers_note(settings(), 1000, 2, step=step, steps_left=left)
    assert text == ("--workers 2 could reach 19,960 samples/s, this process reaches 10,000" if speaks else None)


def test_workers_are_not_suggested_on_one_core():
    assert faster_workers_note(settings(), 1000, 1, step=1.0, steps_left=10**9) is None


def test_workers_are_not_suggested_for_mini_batches_of_one_row():
    assert faster_workers_note(settings(), 1, 1, step=1.0, steps_left=10**9) is None
    # three rows are three shards; one of two workers has two of them
    text = faster_workers_note(settings(), 3, 2, step=0.3, steps_left=10**9)
    assert text == "--workers 2 could reach 15 samples/s, this process reaches 10"


def test_the_noise_is_larger_than_the_difference_of_the_executors():
    """The noise above is realistic: single steps would often suggest the wrong order."""
    chance = random.Random(0)
    slow, quick = (
        [step * chance.uniform(0.8, 1.2) * (10 if chance.random() < 1 / 8 else 1) for _ in range(400)]
        for step in (1.5, 1.0)
    )
    assert sum(mine < other for mine, other in zip(slow, quick, strict=True)) > 20
    assert statistics.median(slow) > statistics.median(quick)
