"""Who computes the steps: the seam between the algorithm and its processes, and the pool that needs none."""

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
    """A way to have steps done."""

    @property
    def step(self) -> int:
        """The steps done so far."""

    def steps(self, stop: int, factor: float = 1.0) -> Generator[StepRecord, None, None]:
        """Do the steps up to before ``stop``; yield each one's record after its update was applied.

        The step size is ``factor`` times what the schedule says. Some more steps may be done already when a record is
        seen; closing the generator ends the descent after the step that is going on.

        Raises:
            DivergedError: a step's update would not have been finite; the state before it is kept.
            PeerLostError: a worker or the server was lost, and nobody could take its place.
        """

    @property
    def recoveries(self) -> int:
        """Workers and servers that were lost so far, each without consequence for the result."""

    def spent(self) -> TimeSpent:
        """Return what everybody has done with their time so far; only differences mean something."""

    def workers(self) -> list[WorkerRecord]:
        """Return the workers that are there, to be looked at; may be called from another thread."""

    def halt(self) -> None:
        """Let :meth:`steps` end after the step that is going on, once its record was yielded."""

    def restart(self, state: Array, step: int) -> None:
        """Go back to this state after ``step`` steps."""

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters)."""


class ManagedExecutor(Executor, Protocol):
    """A parameter server and its workers, wherever they are. Leaving the ``with`` block stops them."""

    config: Settings
    """The settings; once the pool is ready, with the number of workers it has."""

    def __enter__(self) -> Self:
        """Return the pool, ready for its first step."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop everything that the pool started."""


def make_parameter_server(
    structure: Structure, config: Settings, order: EpochOrder, states: Array, step: int
) -> ParameterServer:
    """Return the parameter server that the settings describe; it keeps its state in ``states`` (see there)."""
    return ParameterServer(structure, Rule.of(config, order.steps_per_epoch), states, step)


def double_buffered(state: Array, step: int) -> Array:
    """Return an array for :class:`ParameterServer` that holds ``state`` after ``step`` steps."""
    states = np.empty((2, *state.shape), state.dtype)
    states[step % 2] = state
    return states


def all_shards(order: EpochOrder, step: int, shards: int) -> Span:
    """Return the span of all shards of a step: fewer than ``shards`` only where the mini-batch has fewer rows."""
    return Span(0, min(order.size(step), shards))


class InProcessExecutor:
    """Worker and parameter server in the calling process: the same classes, the same bits, no Ray."""

    def __init__(self, structure: Structure, config: Settings, rows: Rows, state: Array, step: int = 0) -> None:
        assert config.shards is not None
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
        """The steps done so far."""
        return self._server.step

    def steps(self, stop: int, factor: float = 1.0) -> Generator[StepRecord, None, None]:
        """Do the steps up to before ``stop``; yield each one's record after its update was applied."""
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
        """Return what this process has done with its time so far."""
        return TimeSpent({"this process": self._computing}, self._serving)

    def workers(self) -> list[WorkerRecord]:
        """Return nobody: this process does it all."""
        return []

    def halt(self) -> None:
        """Let :meth:`steps` end after the step that is going on."""
        self._halted = True

    def restart(self, state: Array, step: int) -> None:
        """Go back to this state after ``step`` steps."""
        self._server = make_parameter_server(
            self._structure, self.config, self._order, double_buffered(state, step), step
        )

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters)."""
        return self._server.state.copy()
