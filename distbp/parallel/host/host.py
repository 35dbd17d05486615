"""One host of several: its shared memory, its rounds, and its end of the exchange with the others."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from distbp.config import Settings
from distbp.data.dataset import Array, Rows
from distbp.data.epoch_order import EpochOrder
from distbp.errors import TrainingError
from distbp.nn.structure import Structure
from distbp.optim import optimizer_of
from distbp.parallel.host.messages import DRIVER, RUN, connect, receive_news
from distbp.parallel.host.server_loop import ServerLoop
from distbp.parallel.host.shared_memory import Shape, SharedMemory
from distbp.parallel.mesh.cost import Rates
from distbp.parallel.mesh.factors import FactorBroadcast, Reconstructor
from distbp.parallel.mesh.mesh import Mesh
from distbp.parallel.mesh.peers import listen
from distbp.parallel.mesh.rendezvous import HostsLostError
from distbp.parallel.mesh.view import View
from distbp.parallel.step.executor import make_parameter_server
from distbp.parallel.step.factor_store import FactorStore, factorable_layers
from distbp.parallel.step.records import StepRecord
from distbp.parallel.step.shards import buffers_for
from distbp.system.folders import memory_folder, private_folder

_NEWS_SECONDS = 0.25
_LOOK_SECONDS = 0.02


class Host:
    """Serves the workers of this host with a copy of the state, and takes part in the exchange with other hosts.

    :meth:`serve` runs in a thread of its own; the other methods are the driver's, one at a time.
    """

    def __init__(self, structure: Structure, config: Settings, rows: Rows, places: int, address: str) -> None:
        """Make room for so many workers and for a state, which :meth:`restart` brings; listen at ``address``.

        Raises:
            ClusterError: there is too little shared memory, or the address is not this host's.
        """
        assert config.shards is not None
        self._exit = ExitStack()
        self._listener: socket.socket = self._exit.enter_context(listen(address, config.host_port_range))
        folder = self._exit.enter_context(private_folder(memory_folder()))
        state_rows = 1 + len(optimizer_of(config).slots)
        sums = buffers_for(config.shards, config.shards)  # whoever joins later
        shape = Shape(state_rows, structure.parameter_count, config.dtype, places, sums, config.shards, structure.depth)
        self.exchange = SharedMemory(folder, shape, create=True)
        self.place: tuple[Path, Shape] = folder, shape
        """Where workers find the shared memory."""
        self.address: tuple[str, int] = (address, self._listener.getsockname()[1])
        self._order = order = EpochOrder.of(config, len(rows))
        self._structure, self._dtype, self._cores = structure, config.dtype, places
        self._products = Reconstructor(structure, config, rows)
        self._store = FactorStore(
            folder, structure, config.shards, self._products.rows, config.dtype, places, create=True
        )
        server = make_parameter_server(structure, config, order, self.exchange.states, 0)
        self._rounds = ServerLoop(server, self.exchange, order, config.timeout, config.wait)
        channel = connect(folder, DRIVER, config.wait)
        if channel is None:
            raise TrainingError("the host's own channel could not be opened")
        self._channel = channel
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self._records: deque[StepRecord] = deque()
        self._mesh: Mesh | None = None
        self._sent = 0

    def serve(self) -> None:
        """Do the steps that are asked for, until :meth:`close`."""
        self._rounds.serve()

    def meet(self, view: View, here: int, step: int, secret: bytes) -> dict[int, str]:
        """Connect to the other hosts of a view, as host number ``here``; return who did not come, and why."""
        self.leave()
        self._mesh = Mesh(view, here, step, self._structure, self._dtype, self._order)
        self.exchange.factored[:] = 0
        try:
            self._mesh.open(self._listener, secret, view.timeout)
        except HostsLostError as error:
            self._mesh = None
            return error.reasons
        self._rounds.mesh = self._mesh
        return {}

    def wait_for_workers(self, patience: float) -> None:
        """Wait until this host's workers are there: while they start, links and products seem slower than they are."""
        deadline = time.monotonic() + patience
        while not self.exchange.beats[: self._cores].all() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    def rates(self) -> Rates:
        """Return how quick this host's link is, as :meth:`meet` has found, and its products."""
        assert self._mesh is not None
        layers = factorable_layers(self._structure, self._products.rows)
        products = {layer: seconds / self._cores for layer, seconds in self._products.seconds(layers).items()}
        return Rates(self._mesh.members.bytes_per_second, products)

    def agree(self, layers: Sequence[int]) -> None:
        """Let these layers, of :func:`factorable_layers`, travel as their factors in this view.

        Raises:
            ClusterError: there is too little shared memory.
        """
        assert self._mesh is not None
        self._store.reserve()
        factors = FactorBroadcast(self._store, self._products, layers, self._order, self._cores)
        self._mesh.agree(factors)
        self.exchange.factored[list(layers)] = 1

    def leave(self) -> None:
        """End the exchange; a step that is going on ends undone."""
        if self._mesh is not None:
            self._mesh.close()
            self._sent += self._mesh.members.bytes_sent
            self._mesh = None

    def run(self, first: int, stop: int, factor: float) -> None:
        """Begin to do the steps from ``first`` on to before ``stop``."""
        self.exchange.stop_asked[0] = 0
        self._channel.send(RUN.pack(first, stop, factor))

    def halt(self) -> None:
        """Let the steps of all hosts end after the one that is going on, if this is the view's first host."""
        self.exchange.stop_asked[0] = 1

    def news(self, known: int) -> tuple[list[dict[str, Any]], list[StepRecord]]:
        """Wait a moment; return what has happened here, and the records from step ``known`` on."""
        told: list[dict[str, Any]] = []
        timeout = 1000 * _NEWS_SECONDS
        while self._poll.poll(timeout):
            timeout = 0.0
            news = receive_news(self._channel)
            if news is None:
                raise TrainingError("the host's rounds have ended")
            if news:
                told.append(news)
        self._records.extend(self.exchange.read_records())
        while self._records and self._records[0].step < known:
            self._records.popleft()
        return told, list(self._records)

    def state(self, step: int) -> Array:
        """Return a copy of weights and optimizer state after ``step`` steps, the newest or the one before."""
        state: Array = self.exchange.states[step % 2].copy()
        return state

    def restart(self, state: Array, step: int) -> None:
        """Go on from this state after ``step`` steps."""
        self.exchange.go_to(step)
        self.exchange.states[step % 2] = state
        self._records.clear()

    @property
    def sent(self) -> int:
        """Bytes that this host has sent to others."""
        return self._sent + (self._mesh.members.bytes_sent if self._mesh is not None else 0)

    def close(self) -> None:
        """Let the rounds and the workers end, and take everything away."""
        self.leave()
        self._channel.close()
        self._exit.close()
