"""The actors that train: the worker and the parameter server, around classes that need no Ray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distbp.actors.actor_base import Pinged, remote
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
from distbp.system.blas import pin_threads


class _Worker(Pinged):
    """A :class:`Worker` whose rows are the host's one copy in Ray's object store."""

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

    def work(self, folder: Path, shape: Shape, number: int, sends_layers: bool) -> None:
        """Run the worker's loop with the shared memory in ``folder``, until the run ends."""
        config, memory = self._config, SharedMemory(folder, shape)
        work(self._worker, self._structure, memory, number, config.timeout, config.wait, sends_layers)


class _Server(Pinged):
    """A :class:`ParameterServer` with its state in shared memory."""

    def __init__(self, structure: Structure, config: Settings) -> None:
        pin_threads(config.threads)
        self._structure, self._config = structure, config

    def serve(self, folder: Path, shape: Shape, rows: int, orphans: Sequence[int]) -> None:
        """Run the server's loop with the shared memory in ``folder``, until the driver closes its channel."""
        config, memory = self._config, SharedMemory(folder, shape)
        order = EpochOrder.of(config, rows)
        server = make_parameter_server(self._structure, config, order, memory.states, memory.step)
        ServerLoop(server, memory, order, config.timeout, config.wait, orphans).serve()


RemoteWorker: Any = remote(_Worker)
RemoteServer: Any = remote(_Server)
