"""One host of several: its shared memory, its server loop, and its connections to the other hosts."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from distbp.config import Settings
from distbp.data.dataset import Array, Rows
from distbp.data.epoch_order import EpochOrder
from distbp.errors import TrainingError
from distbp.nn.structure import Structure
from distbp.optim import optimizer_of
from distbp.parallel.host.messages import ServerMessage
from distbp.parallel.host.server_link import ServerLink
from distbp.parallel.host.server_loop import ServerLoop
from distbp.parallel.host.shared_memory import Shape, SharedMemory
from distbp.parallel.mesh.cost import Rates
from distbp.parallel.mesh.factors import FactorBroadcast, Reconstructor
from distbp.parallel.mesh.mesh import Mesh
from distbp.parallel.mesh.rendezvous import HostsLostError
from distbp.parallel.mesh.sockets import listen
from distbp.parallel.mesh.view import View
from distbp.parallel.step.executor import make_parameter_server
from distbp.parallel.step.factor_store import FactorStore, factorable_layers
from distbp.parallel.step.records import StepRecord
from distbp.parallel.step.shards import buffers_for
from distbp.system.folders import memory_folder, private_folder

_MESSAGE_SECONDS = 0.25
"""Longest wait of :meth:`Host.messages`."""
_POLL_SECONDS = 0.02


class _LayerFactors(NamedTuple):
    """The parts that send layers between hosts as factors."""

    products: Reconstructor
    store: FactorStore


class Host:
    """Serves this host's workers with a copy of the state, and exchanges sums with the other hosts.

    :meth:`serve` runs in a thread of its own; the driver calls the other methods, one at a time.
    """

    def __init__(self, structure: Structure, config: Settings, rows: Rows, workers: int, address: str) -> None:
        """Create the shared memory for this many workers and listen at ``address``; :meth:`restart` brings the state.

        Raises:
            ClusterError: there is too little shared memory, or the address is not this host's.
        """
        self._exit = ExitStack()
        self._listener: socket.socket = self._exit.enter_context(listen(address, config.host_port_range))
        folder = self._exit.enter_context(private_folder(memory_folder()))
        state_rows = 1 + len(optimizer_of(config).slots)
        sums = buffers_for(config.shards, config.shards)  # enough for any number of workers that join later
        size = structure.parameter_count
        shape = Shape(state_rows, size, config.dtype, workers, sums, config.shards, structure.depth)
        self.memory = SharedMemory(folder, shape, create=True)
        self.address: tuple[str, int] = (address, self._listener.getsockname()[1])
        self._order = order = EpochOrder.of(config, len(rows))
        self._structure = structure
        products = Reconstructor(structure, config, rows)
        store = FactorStore(folder, structure, config.shards, products.rows, config.dtype, workers, create=True)
        self._factors = _LayerFactors(products, store)
        server = make_parameter_server(structure, config, order, self.memory.states, 0)
        self._server_loop = ServerLoop(server, self.memory, order, config.timeout, config.wait)
        link = ServerLink.to(folder, config.wait)
        if link is None:
            raise TrainingError("the host's own channel could not be opened")
        self._link = link
        self._records: deque[StepRecord] = deque()
        self._mesh: Mesh | None = None
        self._sent_before = 0
        """Bytes sent in earlier views."""

    def serve(self) -> None:
        """Do the steps that :meth:`run` requests, until :meth:`close`."""
        self._server_loop.serve()

    def join_view(self, view: View, number: int, step: int, secret: bytes) -> dict[int, str]:
        """Connect to the other hosts of a view, as its host ``number``; return the hosts not reached, with reasons.

        ``step`` is the view's first step.
        """
        self.leave()
        self._mesh = Mesh(view, number, step, self._structure, self.memory.shape.dtype, self._order)
        self.memory.factored[:] = 0
        try:
            self._mesh.open(self._listener, secret, view.timeout)
        except HostsLostError as error:
            self._mesh = None
            return error.reasons
        self._server_loop.mesh = self._mesh
        return {}

    def wait_for_workers(self, patience: float) -> None:
        """Wait until this host's workers have started, since their start would slow down measurements."""
        deadline = time.monotonic() + patience
        heartbeats = self.memory.processes.heartbeats[: self.memory.shape.workers]
        while not heartbeats.all() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def rates(self) -> Rates:
        """Return the bandwidth of this host's link, measured by :meth:`join_view`, and the seconds for each product."""
        assert self._mesh is not None
        products, workers = self._factors.products, self.memory.shape.workers
        layers = factorable_layers(self._structure, products.rows)
        seconds = {layer: each / workers for layer, each in products.seconds(layers).items()}
        return Rates(self._mesh.members.bytes_per_second, seconds)

    def agree(self, layers: Sequence[int]) -> None:
        """Send these layers, which must be :func:`factorable_layers`, as factors in this view.

        Raises:
            ClusterError: there is too little shared memory.
        """
        assert self._mesh is not None
        products, store = self._factors
        store.reserve()
        self._mesh.broadcast_factors(FactorBroadcast(store, products, layers, self._order, self.memory.shape.workers))
        self.memory.factored[list(layers)] = 1

    def leave(self) -> None:
        """Leave the view; a running step ends without its update."""
        if self._mesh is not None:
            self._mesh.close()
            self._sent_before += self._mesh.members.bytes_sent
            self._mesh = None

    def run(self, first: int, stop: int, factor: float) -> None:
        """Start the steps from ``first`` to before ``stop``."""
        self.memory.stop_requested[0] = 0
        self._link.run(first, stop, factor)

    def halt(self) -> None:
        """Stop all hosts after the running step; works on the view's first host alone."""
        self.memory.stop_requested[0] = 1

    def messages(self, known: int) -> tuple[list[ServerMessage], list[StepRecord]]:
        """Wait a moment; return the server's new messages, and the records from step ``known`` on."""
        messages: list[ServerMessage] = []
        try:
            message = self._link.next_message(_MESSAGE_SECONDS)
            while message is not None:
                messages.append(message)
                message = self._link.next_message(0.0)
        except EOFError as error:
            raise TrainingError("the host's server loop has ended") from error
        self._records.extend(self.memory.records.read())
        while self._records and self._records[0].step < known:
            self._records.popleft()
        return messages, list(self._records)

    def state(self, step: int) -> Array:
        """Return a copy of weights and optimizer state after ``step`` steps, the latest or the one before."""
        state: Array = self.memory.states[step % 2].copy()
        return state

    def restart(self, state: Array, step: int) -> None:
        """Continue from this state after ``step`` steps."""
        self.memory.records.restart(step)
        self.memory.states[step % 2] = state
        self._records.clear()

    @property
    def bytes_sent(self) -> int:
        """Bytes that this host has sent to other hosts."""
        return self._sent_before + (self._mesh.members.bytes_sent if self._mesh is not None else 0)

    def close(self) -> None:
        """End the server loop and the workers, and remove the shared memory."""
        self.leave()
        self._link.close()
        self._exit.close()
