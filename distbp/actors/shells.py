"""The remote shells around the plain classes: they pin BLAS threads, and answer a pulse while they compute."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray

from distbp.config import Config
from distbp.data.dataset import Array, Rows
from distbp.data.order import Order
from distbp.nn.structure import Parameters, Structure
from distbp.parallel.arithmetic import fingerprint, pin_threads
from distbp.parallel.exchange import Exchange, Shape
from distbp.parallel.loops import work
from distbp.parallel.pool import make_server, two_versions
from distbp.parallel.records import Report, StepRecord
from distbp.parallel.rounds import Rounds
from distbp.parallel.server import ParameterServer
from distbp.parallel.shards import Span, subtrees
from distbp.parallel.worker import Worker, buffers_for


class Pulse(NamedTuple):
    """An actor's sign of life."""

    host: str
    node: str
    """Ray's name for the host."""
    arithmetic: dict[str, Any]


class _Alive:
    @ray.method(concurrency_group="pulse")  # type: ignore[untyped-decorator] # Ray is seen as untyped here
    def pulse(self) -> Pulse:
        """Say where this actor is and what its bits depend on."""
        return Pulse(socket.gethostname(), ray.get_runtime_context().get_node_id(), fingerprint())


class _Worker(_Alive):
    """A :class:`Worker` whose rows are Ray's one copy on the host."""

    def __init__(
        self, structure: Structure, config: Config, x: Array, y: Array, factor: float, weights: Array | None
    ) -> None:
        pin_threads(config.threads)
        self._structure = structure
        self._config = config
        self._worker = Worker(structure, config, Rows(x, y, factor, weights))
        self._sums: tuple[Array, list[Parameters]] | None = None

    def work(self, folder: Path, shape: Shape, number: int) -> None:
        """Compute what the server asks for through shared memory, until all is done."""
        config = self._config
        work(self._worker, self._structure, Exchange(folder, shape), number, config.timeout, config.wait)

    def push(self, step: int, held: Span, weights: Array) -> tuple[Report, Array]:
        """Return a report and the gradient sums of these shards."""
        if self._sums is None:
            assert self._config.shards is not None
            count = buffers_for(self._config.shards, self._config.worker_count)
            sums = np.empty((count, self._structure.parameter_count), self._config.dtype)
            self._sums = sums, [self._structure.parameters(row) for row in sums]
        report = self._worker.push(step, held, self._structure.parameters(weights), self._sums[1])
        return report, self._sums[0][: self._worker.sums(step, held)]  # what is not used need not travel


class _Server(_Alive):
    """A :class:`ParameterServer`, with its state in its own memory or in shared memory."""

    def __init__(self, structure: Structure, config: Config) -> None:
        pin_threads(config.threads)
        self._structure, self._config = structure, config
        self._server: ParameterServer

    def serve(self, folder: Path, shape: Shape, rows: int, unheard: Sequence[int]) -> None:
        """Do the steps that the driver asks for with the state in shared memory, until the driver is gone."""
        config, exchange = self._config, Exchange(folder, shape)
        order = Order(rows, config.batch_size, config.seed)
        server = make_server(self._structure, config, order, exchange.states, exchange.step)
        Rounds(server, exchange, order, config.timeout, config.wait, unheard).serve()

    def load(self, state: Array, step: int, order: Order) -> None:
        """Go on from this state after ``step`` steps, in this actor's own memory."""
        self._server = make_server(self._structure, self._config, order, two_versions(state, step), step)

    def pull(self) -> Array:
        """Return the weights."""
        return self._server.weights.flat

    def state(self) -> Array:
        """Return weights and optimizer state."""
        return self._server.state

    def update(self, step: int, factor: float, diagnose: bool, *pushed: Any) -> tuple[StepRecord, Array]:
        """Do one step with all workers' reports, then all their sums, in the same order."""
        self._server.factor = factor
        reports, sums = pushed[: len(pushed) // 2], pushed[len(pushed) // 2 :]
        shards = max(report.held.stop for report in reports)
        gradients = {
            span: row
            for report, rows in zip(reports, sums, strict=True)
            for span, row in zip(subtrees(report.held, shards), rows, strict=False)
        }
        return self._server.update(step, reports, gradients, diagnose=diagnose), self._server.weights.flat


# "pulse" is a thread of its own, so that an actor answers while NumPy computes on the other.
_remote = ray.remote(num_cpus=1, max_restarts=0, enable_task_events=False, concurrency_groups={"pulse": 1})
RemoteWorker: Any = _remote(_Worker)
RemoteServer: Any = _remote(_Server)
