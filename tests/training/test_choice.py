"""Decisions of ``--workers auto``, tested as sequences of measurements."""

import random
import statistics
from itertools import count

import pytest

from distbp.config import Config
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
"""A relative difference that is on one side of a threshold for certain."""


def halved(step):
    """Return the speed of steps that take two workers half the time, plus the exchange."""
    return Speed(step, step / 2, 2)


def played(choice, speed, *events):
    """Give the choice the speed in this process, then call methods by their names; return the states."""
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
    assert played(choice, halved(1.0)) == [State.MEASURING_PROCESS, end]
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
def test_the_quicker_of_the_two_is_kept_and_a_tie_needs_no_workers(workers_step, end):
    choice = Choice(100, 2, 1000)
    states = played(choice, halved(1.0), ("workers_measured", workers_step))
    assert states == [State.MEASURING_PROCESS, State.MEASURING_WORKERS, end]
    assert choice.note == (
        f"training with 2 workers ({100 / workers_step:,.0f} samples/s): this process reaches 100"
        if end is State.WORKERS
        else f"training in this process (100 samples/s): 2 workers reach {100 / workers_step:,.0f}"
    )


def test_without_usable_workers_this_process_is_chosen_and_the_reason_noted():
    choice = Choice(100, 2, 1000)
    states = played(choice, halved(1.0), ("workers_failed", "Ray did not start"))
    assert states == [State.MEASURING_PROCESS, State.MEASURING_WORKERS, State.PROCESS]
    assert choice.note == "training in this process (100 samples/s): Ray did not start"


@pytest.mark.parametrize("workers", [0, 1])
def test_one_core_or_one_shard_needs_no_ray_however_long_the_run(workers):
    choice = Choice(100, workers, 10**12)
    assert played(choice, halved(1.0)) == [State.MEASURING_PROCESS, State.PROCESS]
    assert choice.note == "training in this process (100 samples/s)"


def test_steps_that_are_shorter_than_an_exchange_need_no_ray_however_many_there_are():
    choice = Choice(100, 2, 10**12)
    assert played(choice, halved(EXCHANGE_SECONDS)) == [State.MEASURING_PROCESS, State.PROCESS]
    assert choice.note.endswith(": 2 workers would reach at most 666,667")


def test_nothing_is_decided_twice_or_out_of_turn():
    for event in (("workers_measured", 0.5), ("workers_failed", "late")):
        with pytest.raises(AssertionError):
            getattr(Choice(100, 2, 1000), event[0])(event[1])
        done = Choice(100, 2, 1000)
        played(done, halved(1.0), ("workers_measured", 0.5))
        with pytest.raises(AssertionError):
            getattr(done, event[0])(event[1])


@pytest.mark.parametrize(
    ("workers", "shards", "expected"),
    [
        (1, 4, 4 * 0.2 + 0.1),
        (2, 4, 2 * 0.2 + 0.1),
        (3, 4, 2 * 0.2 + 0.1),  # one of the three has two
        (4, 4, 0.2 + 0.1),
        (9, 4, 0.2 + 0.1),
        (2, 1, 0.2 + 0.1),
        (2, 3, 2 * 0.2 + 0.1),
    ],
)
def test_the_best_that_workers_could_do_is_the_most_shards_of_one_the_update_and_an_exchange(workers, shards, expected):
    speed = Speed(shards * 0.2 + 0.1, 0.2, shards)
    assert speed.with_workers(workers) == pytest.approx(expected + EXCHANGE_SECONDS, rel=1e-12)


def test_an_update_that_seems_to_take_no_time_is_no_gain_beyond_the_shards():
    assert Speed(0.4, 0.3, 2).with_workers(2) == pytest.approx(0.3 + EXCHANGE_SECONDS, rel=1e-12)


class Steps:
    """An executor whose steps take the given seconds on its own clock."""

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


def test_the_first_steps_and_single_slow_ones_do_not_count():
    executor = Steps([9.0, 9.0, 0.1, 0.1, 50.0, 0.1, 0.1])
    assert median_step(executor, at_least=59.0, clock=executor.clock) == 0.1
    assert executor.is_closed


@pytest.mark.parametrize(
    ("seconds", "at_least", "done"),
    [
        (1.0, 0.5, 5),  # two to warm up, and no fewer than three
        (1.0, 5.0, 6),  # more than five seconds are to be over
        (0.125, 2.0, 17),
        (0.0, 2.0, 400),  # and no more than that
    ],
)
def test_steps_are_measured_for_a_time_but_never_too_few_or_too_many(seconds, at_least, done):
    executor = Steps(seconds for _ in count())
    assert median_step(executor, at_least, clock=executor.clock) == seconds
    assert executor.step == done


def test_steps_that_diverge_at_once_take_infinite_time():
    class Diverging(Steps):
        def steps(self, stop):
            raise DivergedError("the cost", 0, 0)
            yield

    executor = Diverging([])
    assert median_step(executor, clock=executor.clock) == float("inf")


@pytest.mark.parametrize("seed", range(20))
def test_noise_of_the_machine_does_not_change_a_choice_that_is_clear(seed):
    """Steps take 20 % more or less by chance, and one in eight ten times as long; workers are 1.5 times as quick."""
    chance = random.Random(seed)

    def noisy(step):
        executor = Steps(step * chance.uniform(0.8, 1.2) * (10 if chance.random() < 1 / 8 else 1) for _ in count())
        return median_step(executor, at_least=100 * step, clock=executor.clock)

    for process, workers, end in ((1.5, 1.0, State.WORKERS), (1.0, 1.5, State.PROCESS)):
        choice = Choice(100, 2, 10_000)
        assert played(choice, halved(noisy(process)), ("workers_measured", noisy(workers)))[-1] is end


def settings():
    return Config(hidden=(8,), shards=4, workers=0)


@pytest.mark.parametrize("workers", [1, 2, "2..6"])
@pytest.mark.parametrize(("step", "is_noted"), [(0.5, False), (1.0, False), (1.1 - BIT, False), (1.1 + BIT, True)])
def test_a_note_advises_against_workers_a_tenth_slower_than_this_process(workers, step, is_noted):
    text = slower_workers_note(workers, 1000, step=step, process_step=1.0)
    assert (text is not None) == is_noted
    if text is not None:
        assert text == (
            f"{workers} workers reach 909 samples/s, this process alone would reach about 1,000: --workers 0 or auto "
            "is faster here"
        )


@pytest.mark.parametrize(("times", "is_noted"), [(1 - BIT, False), (1 + BIT, True)])
def test_a_note_proposes_workers_that_could_save_twice_the_start_of_ray(times, is_noted):
    step, saved = 0.1, 0.05 - EXCHANGE_SECONDS
    left = times * 2 * RAY_START_SECONDS / saved
    text = faster_workers_note(settings(), 1000, 2, step=step, steps_left=left)
    assert text == ("--workers 2 could reach 19,960 samples/s, this process reaches 10,000" if is_noted else None)


def test_on_one_core_no_workers_are_proposed():
    assert faster_workers_note(settings(), 1000, 1, step=1.0, steps_left=10**9) is None


def test_a_mini_batch_of_one_row_has_one_shard_and_no_use_for_workers():
    assert faster_workers_note(settings(), 1, 1, step=1.0, steps_left=10**9) is None
    # three rows are three shards, of which one of two workers has two
    text = faster_workers_note(settings(), 3, 2, step=0.3, steps_left=10**9)
    assert text == "--workers 2 could reach 15 samples/s, this process reaches 10"


def test_the_spread_of_the_noise_is_larger_than_the_gain_of_a_median():
    """The noise above matters: comparing single steps would often give the wrong order."""
    chance = random.Random(0)
    slow, quick = (
        [step * chance.uniform(0.8, 1.2) * (10 if chance.random() < 1 / 8 else 1) for _ in range(400)]
        for step in (1.5, 1.0)
    )
    assert sum(mine < other for mine, other in zip(slow, quick, strict=True)) > 20
    assert statistics.median(slow) > statistics.median(quick)
