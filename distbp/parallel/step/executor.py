"""Executors compute the steps: the interface between training and its processes, and the single-process executor."""

from __future__ import annotations

import time
from collections.abc import Generator
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from distbp.config import Settings
from distbp.data.dataset import Array, Rows
from distbp.data.epoch_order import EpochOrder
from distbp.nn.structure import Structure
from distbp.optim import Rule
from distbp.parallel.step.diagnosis import is_diagnosed
from distbp.parallel.step.records import StepRecord, TimeSpent, WorkerRecord
from distbp.parallel.step.server import ParameterServer
from distbp.parallel.step.shards import Span
from distbp.parallel.step.worker import Worker
from distbp.system.blas import ShardThreads


class Executor(Protocol):
    """Computes steps for the training loop, in any arrangement of processes."""

    @property
    def step(self) -> int:
        """Number of steps completed."""

    def steps(self, stop: int, factor: float = 1.0) -> Generator[StepRecord, None, None]:
        """Run the steps before step number ``stop``; yield the record of each after its update.

        ``factor`` multiplies the schedule's learning rate. The executor may be some steps ahead of the record that it
        yields. Closing the generator ends training after the current step.

        Raises:
            DivergedError: a step's update is not finite; the state before that step is kept.
            PeerLostError: a worker or the server was lost and could not be replaced.
        """

    @property
    def recoveries(self) -> int:
        """Number of lost workers and servers so far, all replaced without any effect on the result."""

    def spent(self) -> TimeSpent:
        """Return the time spent so far; only differences between two calls are meaningful."""

    def workers(self) -> list[WorkerRecord]:
        """Return the state of each worker, for display. May be called from another thread."""

    def halt(self) -> None:
        """Make :meth:`steps` end after it has yielded the current step's record."""

    def restart(self, state: Array, step: int) -> None:
        """Go back to ``state``, which is the state after ``step`` steps."""

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters)."""


class ManagedExecutor(Executor, Protocol):
    """An executor that owns its parameter server and workers; leaving the ``with`` block stops them."""

    config: Settings
    """The settings; after the start they hold the actual number of workers."""

    def __enter__(self) -> Self:
        """Start the server and the workers; return the executor, ready for its first step."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop the server and the workers."""


def make_parameter_server(
    structure: Structure, config: Settings, order: EpochOrder, states: Array, step: int
) -> ParameterServer:
    """Return a parameter server with the settings' update rule; see :class:`ParameterServer` for ``states``."""
    return ParameterServer(structure, Rule.of(config, order.steps_per_epoch), states, step)


def double_buffered(state: Array, step: int) -> Array:
    """Return the ``states`` array of a :class:`ParameterServer` whose state after ``step`` steps is ``state``."""
    states = np.empty((2, *state.shape), state.dtype)
    states[step % 2] = state
    return states


def all_shards(order: EpochOrder, step: int, shards: int) -> Span:
    """Return the span of all shards of a step: ``shards``, or fewer if the mini-batch has fewer rows."""
    return Span(0, min(order.size(step), shards))


class InProcessExecutor:
    """Runs worker and parameter server in the calling process, without Ray; results are the same bit for bit."""

    def __init__(self, structure: Structure, config: Settings, rows: Rows, state: Array, step: int = 0) -> None:
        self._structure, self.config = structure, config
        self._worker = Worker(structure, config, rows)
        self._sum = structure.parameters(np.empty(structure.parameter_count, config.dtype))
        self._order = EpochOrder.of(config, len(rows))
        self._server = make_parameter_server(structure, config, self._order, double_buffered(state, step), step)
        self._shards, self._threads = config.shards, ShardThreads(config.threads)
        self._halted = False
        self._computing = self._serving = 0.0
        self.recoveries = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    @property
    def step(self) -> int:
        """Number of steps completed."""
        return self._server.step

    def steps(self, stop: int, factor: float = 1.0) -> Generator[StepRecord, None, None]:
        """Run the steps before step number ``stop``; yield the record of each after its update."""
        self._halted = False
        self._server.factor = factor
        while self._server.step < stop and not self._halted:
            began = time.perf_counter()
            step = self._server.step
            whole = all_shards(self._order, step, self._shards)
            with self._threads:
                report = self._worker.compute(step, whole, self._server.weights, [self._sum])
                computing = time.perf_counter() - began
                diagnose = is_diagnosed(step, self._order.steps_per_epoch)
                record = self._server.update(step, [report], {whole: self._sum.flat}, began, diagnose)
            record.check()
            self._computing += computing
            self._serving += record.seconds - computing
            yield record

    def spent(self) -> TimeSpent:
        """Return the time that this process has spent so far."""
        return TimeSpent({"this process": self._computing}, self._serving)

    def workers(self) -> list[WorkerRecord]:
        """Return an empty list: this process has no separate workers."""
        return []

    def halt(self) -> None:
        """Make :meth:`steps` end after the current step."""
        self._halted = True

    def restart(self, state: Array, step: int) -> None:
        """Go back to ``state``, which is the state after ``step`` steps."""
        self._server = make_parameter_server(
            self._structure, self.config, self._order, double_buffered(state, step), step
        )

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters)."""
        return self._server.state.copy()
