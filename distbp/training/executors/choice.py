"""Decisions of ``--workers auto``: pure functions and a state machine, without clock or processes. Times in seconds."""

from __future__ import annotations

from enum import Enum

from distbp.config import Settings, Workers
from distbp.parallel.step.shards import cut

RAY_START_SECONDS = 6.0
"""Time to start a private Ray and its actors; a run that saves less is faster without Ray."""
EXCHANGE_SECONDS = 100e-6
"""Cost of a step's exchange on one host: two wake-ups."""
_CLEARLY_SLOWER = 1.1
"""Ratio of step times from which a note advises another number of workers."""


class Speed:
    """Time of a step in this process, from which the time with workers is estimated."""

    def __init__(self, step: float, shard: float, shards: int) -> None:
        """``step`` is the time of a whole step, ``shard`` that of the gradient of one of its ``shards``."""
        self.step = step
        self._shard = shard
        self._shards = shards

    def with_workers(self, workers: int) -> float:
        """Return a lower bound of the time per step with this many workers."""
        most_shards = cut(self._shards, workers)[0].stop
        update = max(0.0, self.step - self._shards * self._shard)
        return most_shards * self._shard + update + EXCHANGE_SECONDS


class State(Enum):
    """State of a choice; the last two are final."""

    MEASURING_PROCESS = "steps are measured in this process"
    MEASURING_WORKERS = "workers are started and measured"
    PROCESS = "this process does the steps"
    WORKERS = "workers do the steps"


class Choice:
    """Chooses between this process and workers, one measurement after the other.

    >>> choice = Choice(rows=1000, workers=2, steps=1_000_000)
    >>> choice.process_measured(Speed(step=0.004, shard=0.002, shards=2))
    >>> choice.state.name
    'MEASURING_WORKERS'
    >>> choice.workers_measured(0.0025)
    >>> choice.state.name, choice.note
    ('WORKERS', 'training with 2 workers (400,000 samples/s): this process reaches 250,000')
    """

    def __init__(self, rows: int, workers: int, steps: int) -> None:
        """Choose between this process and ``workers`` for ``steps`` steps of ``rows`` rows each."""
        self.state = State.MEASURING_PROCESS
        self.workers = workers
        self._rows, self._steps = rows, steps
        self._process_step = self._workers_step = 0.0
        self._reason = ""

    @property
    def note(self) -> str:
        """The choice, its speed and the reason, as one line for the user."""
        if self.state is State.WORKERS:
            return (
                f"training with {self.workers} workers ({self._speed(self._workers_step)} samples/s): this process "
                f"reaches {self._speed(self._process_step)}"
            )
        chosen = f"training in this process ({self._speed(self._process_step)} samples/s)"
        return f"{chosen}: {self._reason}" if self._reason else chosen

    def _speed(self, step: float) -> str:
        return f"{self._rows / step:,.0f}"

    def process_measured(self, speed: Speed) -> None:
        """Continue after a measurement in this process: try workers only if they could save more than Ray's start."""
        assert self.state is State.MEASURING_PROCESS
        self._process_step = speed.step
        self.state = State.PROCESS
        if self.workers < 2:
            return
        expected = speed.with_workers(self.workers)
        saved = self._steps * (speed.step - expected)
        if saved > RAY_START_SECONDS:
            self.state = State.MEASURING_WORKERS
        elif saved > 0:
            self._reason = (
                f"{self.workers} workers would save at most {saved:.1f} s, starting Ray takes {RAY_START_SECONDS:.0f} s"
            )
        else:
            self._reason = f"{self.workers} workers would reach at most {self._speed(expected)}"

    def workers_failed(self, why: str) -> None:
        """Continue in this process, since workers cannot be used."""
        assert self.state is State.MEASURING_WORKERS
        self._reason = why
        self.state = State.PROCESS

    def workers_measured(self, step: float) -> None:
        """Continue after a measurement with workers: choose them if they are faster."""
        assert self.state is State.MEASURING_WORKERS
        self._workers_step = step
        self._reason = f"{self.workers} workers reach {self._speed(step)}"
        self.state = State.WORKERS if step < self._process_step else State.PROCESS


def slower_workers_note(workers: Workers, rows: int, step: float, process_step: float) -> str | None:
    """Return a note if the chosen workers are clearly slower than this process alone, else None.

    Args:
        workers: the number of workers that the user chose.
        rows: rows per mini-batch.
        step: seconds per step with the workers.
        process_step: seconds per step in this process.
    """
    if step < _CLEARLY_SLOWER * process_step:
        return None
    return (
        f"{workers} workers reach {rows / step:,.0f} samples/s, this process alone would reach about "
        f"{rows / process_step:,.0f}: --workers 0 or auto is faster here"
    )


def faster_workers_note(config: Settings, rows: int, workers: int, step: float, steps_left: int) -> str | None:
    """Return a note if ``workers`` could save much more time than the start of Ray takes, else None.

    Args:
        config: the settings.
        rows: rows per mini-batch.
        workers: the number of workers that could be fastest on this machine.
        step: seconds per step in this process, which the user chose.
        steps_left: steps still to be done.
    """
    shards = min(config.shards, rows)
    expected = Speed(step, step / shards, shards).with_workers(workers)
    if steps_left * (step - expected) < 2 * RAY_START_SECONDS:
        return None
    return f"--workers {workers} could reach {rows / expected:,.0f} samples/s, this process reaches {rows / step:,.0f}"
