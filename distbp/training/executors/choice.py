"""Which pool is the quickest: decisions alone, without a clock, a core or a process in them. Times are in seconds."""

from __future__ import annotations

from enum import Enum

from distbp.config import Settings
from distbp.parallel.step.shards import cut

RAY_START_SECONDS = 6.0
"""What starting a private Ray and its actors takes; a run that saves less is quicker without."""
EXCHANGE_SECONDS = 100e-6
"""What a round costs beside its arithmetic: two wake-ups on one host."""
_CLEARLY = 1.1
"""How many times slower a choice must be to be worth a word."""


class Speed:
    """How long a step takes in this process, and what would be left of it with workers."""

    def __init__(self, step: float, shard: float, shards: int) -> None:
        """``step`` is all of it, ``shard`` the gradient of one of its ``shards``."""
        self.step = step
        self._shard = shard
        self._shards = shards

    def with_workers(self, workers: int) -> float:
        """Return the least seconds per step that so many workers could take."""
        most = cut(self._shards, workers)[0].stop
        update = max(0.0, self.step - self._shards * self._shard)
        return most * self._shard + update + EXCHANGE_SECONDS


class State(Enum):
    """How far the choice has come; the last two are its ends."""

    MEASURES_HERE = "steps are measured in this process"
    TRIES_WORKERS = "workers are started and measured"
    THIS_PROCESS = "this process does the steps"
    WORKERS = "workers do the steps"


class Choice:
    """What ``--workers auto`` decides, one event after the other.

    >>> choice = Choice(rows=1000, workers=2, steps=1_000_000)
    >>> choice.measured_here(Speed(step=0.004, shard=0.002, shards=2))
    >>> choice.state.name
    'TRIES_WORKERS'
    >>> choice.measured_workers(0.0025)
    >>> choice.state.name, choice.note
    ('WORKERS', 'workers: this process 250,000 samples/s, 2 workers 400,000: 2 workers')
    """

    def __init__(self, rows: int, workers: int, steps: int) -> None:
        """Choose between this process and ``workers`` for so many ``steps`` of so many ``rows`` each."""
        self.state = State.MEASURES_HERE
        self.workers = workers
        self._rows, self._steps = rows, steps
        self._here = 0.0
        self._found: list[str] = []

    @property
    def note(self) -> str:
        """What was found, and what was chosen, as one line for the user."""
        chosen = "this process" if self.state is State.THIS_PROCESS else f"{self.workers} workers"
        return f"workers: {', '.join(self._found)}: {chosen}"

    def measured_here(self, speed: Speed) -> None:
        """Take in what a step takes here; workers are worth a try only if they could save more than Ray's start."""
        assert self.state is State.MEASURES_HERE
        self._here = speed.step
        self._found.append(f"this process {self._rows / speed.step:,.0f} samples/s")
        self.state = State.THIS_PROCESS
        if self.workers < 2:
            return
        hoped = speed.with_workers(self.workers)
        saved = self._steps * (speed.step - hoped)
        if saved > RAY_START_SECONDS:
            self.state = State.TRIES_WORKERS
            return
        why = f"would save {saved:.1f} s, Ray takes {RAY_START_SECONDS:.0f} s to start" if saved > 0 else "no gain"
        self._found.append(f"{self.workers} workers at most {self._rows / hoped:,.0f} ({why})")

    def cannot_try(self, why: str) -> None:
        """Take in that workers cannot be had, and why."""
        assert self.state is State.TRIES_WORKERS
        self._found.append(why)
        self.state = State.THIS_PROCESS

    def measured_workers(self, step: float) -> None:
        """Take in what a step takes with the workers, which are there by now; where both are as quick, they go."""
        assert self.state is State.TRIES_WORKERS
        self._found.append(f"{self.workers} workers {self._rows / step:,.0f}")
        self.state = State.WORKERS if step < self._here else State.THIS_PROCESS


def slower_choice(config: Settings, rows: int, useful: int, here: float, step: float, steps_left: int) -> str | None:
    """Return what to tell a person whose choice of workers turns out slower than another would be, None if it is not.

    Args:
        config: the settings, with the chosen workers.
        rows: rows per mini-batch.
        useful: the number of workers that could be quickest on this machine.
        here: seconds per step in this process.
        step: seconds per step as chosen.
        steps_left: steps that are still to be done.
    """
    if not config.workers.in_process:
        if step < _CLEARLY * here:
            return None
        return (
            f"{config.workers} workers do {rows / step:,.0f} samples/s, this process alone would do about "
            f"{rows / here:,.0f}: --workers 0 or auto is quicker here"
        )
    shards = min(config.shards, rows)
    hoped = Speed(here, here / shards, shards).with_workers(useful)
    if steps_left * (here - hoped) < 2 * RAY_START_SECONDS:
        return None
    return f"--workers {useful} could do up to {rows / hoped:,.0f} samples/s, this process does {rows / here:,.0f}"
