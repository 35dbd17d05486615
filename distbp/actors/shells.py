"""The remote shells around the plain classes: they pin BLAS threads, and answer a pulse while they compute."""

from __future__ import annotations

import os
import socket
from typing import Any, NamedTuple

import numpy as np
import ray

from distbp.config import Config
from distbp.data.dataset import Array, Rows
from distbp.nn.structure import Structure
from distbp.parallel.arithmetic import fingerprint, pin_threads
from distbp.parallel.pool import make_server
from distbp.parallel.records import Report, StepRecord
from distbp.parallel.shards import Span, subtrees
from distbp.parallel.worker import Worker, buffers_for


class Pulse(NamedTuple):
    """An actor's sign of life."""

    host: str
    pid: int
    arithmetic: dict[str, Any]


class _Alive:
    @ray.method(concurrency_group="pulse")  # type: ignore[untyped-decorator] # Ray is seen as untyped here
    def pulse(self) -> Pulse:
        """Say where this actor is and what its bits depend on."""
        return Pulse(socket.gethostname(), os.getpid(), fingerprint())


class _Worker(_Alive):
    """A :class:`Worker` whose rows are Ray's one copy on the host."""

    def __init__(self, structure: Structure, config: Config, x: Array, y: Array, factor: float) -> None:
        pin_threads(config.threads)
        self._structure = structure
        self._worker = Worker(structure, config, Rows(x, y, factor))
        sums = np.empty((buffers_for(structure, config, config.workers), structure.parameter_count), config.dtype)
        self._sums, self._out = sums, [structure.parameters(row) for row in sums]

    def push(self, step: int, held: Span, weights: Array) -> tuple[Report, Array]:
        """Return a report and the gradient sums of these shards."""
        report = self._worker.push(step, held, self._structure.parameters(weights), self._out)
        return report, self._sums


class _Server(_Alive):
    """A :class:`ParameterServer`."""

    def __init__(self, structure: Structure, config: Config, state: Array, step: int) -> None:
        pin_threads(config.threads)
        self._server = make_server(structure, config, state, step)

    def pull(self) -> Array:
        """Return the weights."""
        return self._server.weights.flat

    def state(self) -> Array:
        """Return weights and optimizer state."""
        return self._server.state

    def update(self, step: int, *pushed: Any) -> tuple[StepRecord, Array]:
        """Do one step with all workers' reports, then all their sums, in the same order."""
        reports, sums = pushed[: len(pushed) // 2], pushed[len(pushed) // 2 :]
        shards = max(report.held.stop for report in reports)
        gradients = {
            span: row
            for report, rows in zip(reports, sums, strict=True)
            for span, row in zip(subtrees(report.held, shards), rows, strict=False)
        }
        return self._server.update(step, reports, gradients), self._server.weights.flat


# "pulse" is a thread of its own, so that an actor answers while NumPy computes on the other.
_remote = ray.remote(num_cpus=1, max_restarts=0, enable_task_events=False, concurrency_groups={"pulse": 1})
RemoteWorker: Any = _remote(_Worker)
RemoteServer: Any = _remote(_Server)
