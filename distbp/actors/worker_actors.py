"""The remote shells around the plain classes: they pin BLAS threads, and answer a pulse while they compute."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray

from distbp.config import Settings
from distbp.data.columns.encoding import Encoding
from distbp.data.dataset import Rows
from distbp.data.epoch_order import EpochOrder
from distbp.data.prepared.mapped import opened
from distbp.nn.structure import Structure
from distbp.parallel.host.server_loop import ServerLoop
from distbp.parallel.host.shared_memory import Shape, SharedMemory
from distbp.parallel.host.worker_loop import work
from distbp.parallel.step.executor import make_parameter_server
from distbp.parallel.step.worker import Worker
from distbp.system.arithmetic import fingerprint
from distbp.system.blas import pin_threads


class Ping(NamedTuple):
    """An actor's sign of life."""

    host: str
    node: str
    """Ray's name for the host."""
    arithmetic: dict[str, Any]


class Alive:
    """An actor that answers while it computes."""

    @ray.method(concurrency_group="pulse")  # type: ignore[untyped-decorator] # Ray is seen as untyped here
    def pulse(self) -> Ping:
        """Say where this actor is and what its bits depend on."""
        return Ping(socket.gethostname(), ray.get_runtime_context().get_node_id(), fingerprint())


class _Worker(Alive):
    """A :class:`Worker` whose rows are Ray's one copy on the host."""

    def __init__(
        self,
        structure: Structure,
        config: Settings,
        x: Any,
        y: Any,
        factor: float,
        weights: Any,
        encoding: Encoding | None,
    ) -> None:
        pin_threads(config.threads)
        self._structure, self._config = structure, config
        self._worker = Worker(structure, config, Rows(opened(x), opened(y), factor, opened(weights), encoding))

    def work(self, folder: Path, shape: Shape, number: int, tells_layers: bool) -> None:
        """Compute what the server asks for through shared memory, until all is done."""
        config, exchange = self._config, SharedMemory(folder, shape)
        work(self._worker, self._structure, exchange, number, config.timeout, config.wait, tells_layers)


class _Server(Alive):
    """A :class:`ParameterServer` with its state in shared memory."""

    def __init__(self, structure: Structure, config: Settings) -> None:
        pin_threads(config.threads)
        self._structure, self._config = structure, config

    def serve(self, folder: Path, shape: Shape, rows: int, silent: Sequence[int]) -> None:
        """Do the steps that the driver asks for with the state in shared memory, until the driver is gone."""
        config, exchange = self._config, SharedMemory(folder, shape)
        order = EpochOrder.of(config, rows)
        server = make_parameter_server(self._structure, config, order, exchange.states, exchange.step)
        ServerLoop(server, exchange, order, config.timeout, config.wait, silent).serve()


# "pulse" is a thread of its own, so that an actor answers while NumPy computes on the other; so is "news".
remote = ray.remote(num_cpus=1, max_restarts=0, enable_task_events=False, concurrency_groups={"pulse": 1, "news": 1})
RemoteWorker: Any = remote(_Worker)
RemoteServer: Any = remote(_Server)
