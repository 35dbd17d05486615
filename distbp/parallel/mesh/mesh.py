"""One host's end of the exchange: its sums go up to the servers of the chunks, the totals come back.

The parameter vector is cut into chunks, each with a host that serves it: it receives every other host's sums of that
part (complete subtrees of the fixed tree, so the bits are those of one process), adds them up in the tree's order and
sends the total to all hosts. With as many servers as hosts each link carries 2 (N - 1) / N times the parameters in each
direction, the least that any exact exchange needs (as a ring all-reduce does, Patarasuk and Yuan, 2009). Layers that
backpropagation has finished are sent while it continues with the layers before them.

What is sent back is the total, not the new weights: every host applies it to its own copy of weights and optimizer
state, with the same code. So a host that is lost takes no state with it, whichever it is.

No host can be more than one step ahead of another, since each step needs the reports of all hosts. So there are two
receive buffers of everything, one for even and one for odd steps.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np

from distbp.data.dataset import Array
from distbp.data.epoch_order import EpochOrder
from distbp.nn.structure import Structure
from distbp.parallel.mesh.agreement import WeightsDifferError, difference
from distbp.parallel.mesh.chunks import CHUNK, chunks_of, pieces_of, sending_order
from distbp.parallel.mesh.factors import FactorBroadcast
from distbp.parallel.mesh.frames import FACTORS, PART, REPORT, TOTAL, ChecksumError, DamagedError, Frame
from distbp.parallel.mesh.membership import Membership
from distbp.parallel.mesh.peers import PeerConnection
from distbp.parallel.mesh.receive_buffers import ReceiveBuffers
from distbp.parallel.mesh.rendezvous import HostsLostError
from distbp.parallel.mesh.step_exchange import (
    HostReports,
    StepExchange,
    StepExchanges,
    pack_host_reports,
    unpack_host_reports,
)
from distbp.parallel.mesh.view import View
from distbp.parallel.mesh.wire import Packed, Wire, bytes_of
from distbp.parallel.step.records import Report
from distbp.parallel.step.shards import Span
from distbp.parallel.step.tree import Adder

_LOOK_SECONDS = 0.25
_IN_WORKERS_MEMORY = PART, FACTORS
"""Kinds of frames whose bodies are in memory that workers overwrite in the next step."""
_Peers = Collection[PeerConnection]


class Mesh:
    """One host's end of the exchange, for the duration of a view."""

    def __init__(self, view: View, host: int, step: int, structure: Structure, dtype: str, order: EpochOrder) -> None:
        """Take part as host number ``host`` from ``step`` on; ``order`` gives the number of rows of each step."""
        self.view, self.host = view, host
        self._structure = structure
        self.members = Membership(view, host)
        self._exchanges = StepExchanges(view, host, step, order, self.members.changed)
        self._wire = Wire(view.wire, dtype)
        self._adder = Adder(CHUNK, dtype)
        self.stop_agreed = False
        """Whether all hosts stop after the step that was exchanged last, as the view's first host has asked."""
        self._use(None, np.empty((2, structure.parameter_count), dtype))

    def open(self, listener: socket.socket, secret: bytes, patience: float) -> None:
        """Connect to all other hosts of the view; raise HostsLostError if some do not connect in time."""
        self.members.open(listener, secret, patience, self)

    def broadcast_factors(self, factors: FactorBroadcast) -> None:
        """Exchange some layers as factors. All hosts have to agree on them before the first step."""
        self._use(factors, self._buffers.totals)

    def _use(self, factors: FactorBroadcast | None, totals: Array) -> None:
        """Plan the chunks for the layers that are exchanged as factors, if any."""
        self._factors = factors
        layers = () if factors is None else factors.layers
        self._chunks = chunks_of(self._structure.bounds, self.view.servers, layers)
        self._exchanges.chunks = self._chunks
        self._sending_order = sending_order(self._chunks, self.view.servers, self.host)
        self._buffers = ReceiveBuffers(self.view, self.host, self._chunks, totals, factors)

    def close(self) -> None:
        """Close all connections and cancel reconstructions. May be called from another thread."""
        self.members.close()
        if self._factors is not None:
            self._factors.close()

    def span(self, shards: int) -> Span:
        """Return the span that this host computes of a mini-batch of ``shards`` shards."""
        return self.view.span(self.host, shards)

    def reserve(self, slot: int) -> None:
        """Allocate a further slot for factors; raise ClusterError if there is too little shared memory."""
        if self._factors is not None:
            self._factors.reserve(slot)

    def begin(self, step: int, apply: Callable[[slice, Array], None] | None) -> None:
        """Begin this host's part of a step; ``apply`` is called with each total as it arrives, on threads of the mesh.

        A total proves that every host with shards has completed the step before, so the state before that step, which
        ``apply`` overwrites, is no longer needed. It proves nothing about a host without shards: if there is one,
        ``apply`` is not used.

        Raises:
            HostsLostError: the view is at another step.
        """
        if step != self._exchanges.step:
            raise HostsLostError({})
        exchange = self._exchanges.at(step)
        if len({node.host for node in exchange.nodes}) == self.view.hosts:
            exchange.apply = apply

    def push(self, step: int, layer: int, sums: Mapping[Span, Array], slots: Mapping[int, int]) -> None:
        """Send the chunks that are final now that the gradients of ``layer`` (counted from 0) and all later ones are.

        ``sums`` are the sums that this host's workers pass on, whole parameter vectors by span; they must not change
        until :meth:`exchange` returns. ``slots`` are those slots of shards' factors that are not 0.

        Raises:
            ValueError: another step is next.
        """
        if step != self._exchanges.step:
            raise ValueError(f"step {self._exchanges.step} is next, got the sums of step {step}")
        exchange = self._exchanges.at(step)
        while exchange.pushed < len(self._sending_order):
            number = self._sending_order[exchange.pushed]
            if self._chunks[number].layer < layer:
                return
            self._send_sums(exchange, number, sums, slots)
            exchange.pushed += 1

    def exchange(
        self, step: int, message: HostReports, sums: Mapping[Span, Array], slots: Mapping[int, int]
    ) -> tuple[list[Report], Array]:
        """Return all hosts' reports on this step, and the sum over all shards, valid for two steps.

        ``message`` and ``sums`` are this host's; see :meth:`push` for ``slots``. Only host 0's request to stop counts,
        so that all hosts stop after the same step: see :attr:`stop_agreed`.

        Raises:
            HostsLostError: a host is lost, or :meth:`close` was called.
            WeightsDifferError: the hosts began this step with different weights.
        """
        self.push(step, 0, sums, slots)
        exchange = self._exchanges.at(step)
        body = memoryview(pack_host_reports(message, self.view.shards))
        self._send(REPORT, exchange, 0, 0, Packed(1.0, body), self.members.peers.values())
        with self.members.changed:
            exchange.reports[self.host] = message
            while not exchange.is_complete(self.view.hosts):
                self.members.check()
                self.members.changed.wait(_LOOK_SECONDS)
            self._exchanges.complete()
        differing = difference(step, {host: exchange.reports[host].layer_hashes for host in sorted(exchange.reports)})
        if differing is not None:
            raise WeightsDifferError(differing)
        self.stop_agreed = exchange.reports[0].stop
        return exchange.all_reports(), self._buffers.totals[step % 2]

    def _send_sums(
        self, exchange: StepExchange, number: int, sums: Mapping[Span, Array], slots: Mapping[int, int]
    ) -> None:
        """Send this host's sums of a chunk, or their factors, to the hosts that add it up."""
        chunk = self._chunks[number]
        peers = [peer for peer in self.members.peers.values() if chunk.server in (None, peer.number)]
        if chunk.is_factored and self._factors is not None:
            for shard in range(*self.span(exchange.shards)):
                factors = self._factors.own(exchange.step, shard, chunk.layer, slots.get(shard, 0))
                self._send(FACTORS, exchange, number, shard, Packed(1.0, bytes_of(factors)), peers)
            peers = []
        for index, (span, host) in enumerate(exchange.nodes):
            if host != self.host:
                continue
            numbers = self._adder.node(span, sums, chunk.params)
            if peers:
                read = None
                if chunk.server is None:  # all hosts that add up, this one too, must use the same rounded numbers
                    read = numbers if self._wire.is_exact else self._buffers.sum_of(exchange.step, number, index)
                packed = self._wire.pack(numbers, (number, index), exchange.step, read)
                numbers = numbers if read is None else read
                self._send(PART, exchange, number, index, packed, peers)
            if chunk.server in (None, self.host):
                self._add_sum(exchange, number, span, numbers)

    def _send(self, kind: int, exchange: StepExchange, number: int, node: int, packed: Packed, peers: _Peers) -> None:
        """Send a frame to the given peers."""
        frame = Frame.of(kind, exchange.step, number, node, packed.scale, packed.body)
        exchange.sent[kind, number, node] = frame, packed.body
        if kind in _IN_WORKERS_MEMORY:
            with self.members.changed:
                exchange.unsent += len(peers)
        for peer in peers:
            peer.send(frame, packed.body)

    def _add_sum(self, exchange: StepExchange, number: int, span: Span, numbers: Array) -> None:
        """Add one sum to the total of a chunk that this host serves; after the last sum, send the total."""
        chunk = self._chunks[number]
        with self.members.changed:
            sums = exchange.add_sum(number, span, numbers, self._buffers.sums_needed(exchange, chunk))
        if sums is None:
            return
        total = self._buffers.total(exchange.step, chunk.params)
        for piece in pieces_of(slice(0, len(total))):
            self._adder.add(Span(0, exchange.shards), sums, piece, total[piece])
        if chunk.server is not None:
            packed = self._wire.pack(total, number, exchange.step, total)
            self._send(TOTAL, exchange, number, 0, packed, self.members.peers.values())
        self._finish_chunk(exchange, number)

    def _finish_chunk(self, exchange: StepExchange, number: int) -> None:
        """Apply a chunk's total, and note that it has arrived."""
        if exchange.apply is not None:
            for piece in pieces_of(self._chunks[number].params):
                exchange.apply(piece, self._buffers.totals[exchange.step % 2])
        with self.members.changed:
            if number not in exchange.open:
                raise DamagedError(f"the total of chunk {number} twice")
            exchange.open.discard(number)
            self._wake(exchange)

    def _wake(self, exchange: StepExchange) -> None:
        """Wake :meth:`exchange` if the step is complete. The caller holds the lock."""
        if exchange.is_complete(self.view.hosts):
            self.members.changed.notify_all()

    def buffer_for(self, sender: int, frame: Frame) -> memoryview:
        """Return the buffer for a frame's body (see FrameHandler)."""
        numbers = self._buffers.buffer_for(sender, frame, self._exchange_for(frame))
        if frame.kind == FACTORS:
            return bytes_of(numbers)
        return self._wire.buffer_for(numbers, (frame.step % 2, frame.kind, frame.chunk, frame.node))

    def _exchange_for(self, frame: Frame) -> StepExchange:
        """Return the exchange of a frame's step, or raise DamagedError if no host can be at that step."""
        step = self._exchanges.step
        if frame.step not in (step, step + 1) or frame.chunk >= len(self._chunks):
            raise DamagedError(f"chunk {frame.chunk} of step {frame.step} in step {step}")
        return self._exchanges.at(frame.step)

    def received(self, sender: int, frame: Frame, body: memoryview) -> None:
        """Handle a frame whose body is complete (see FrameHandler)."""
        exchange = self._exchange_for(frame)
        if frame.kind == REPORT:
            message = unpack_host_reports(body, self._structure.depth, self.view.shards)
            with self.members.changed:
                exchange.add_reports(sender, message, self.view.span(sender, exchange.shards))
                self._wake(exchange)
            return
        numbers = self._buffers.buffer_for(sender, frame, exchange)
        if frame.kind == FACTORS:
            self._reconstruct(sender, frame, exchange, numbers)
            return
        self._wire.unpack(body, numbers, frame.scale)
        if frame.kind == TOTAL:
            self._finish_chunk(exchange, frame.chunk)
        else:
            self._add_sum(exchange, frame.chunk, exchange.nodes[frame.node].span, numbers)

    def _reconstruct(self, sender: int, frame: Frame, exchange: StepExchange, factors: Array) -> None:
        """Start the reconstruction of a shard's gradient, which then is added like a sum."""
        assert self._factors is not None
        out = self._buffers.sum_of(frame.step, frame.chunk, frame.node)

        def done() -> None:
            self._add_sum(exchange, frame.chunk, Span(frame.node, frame.node + 1), out)

        layer = self._chunks[frame.chunk].layer
        self._factors.reconstruct(frame.step, frame.node, layer, factors, out, done, partial(self.lost, sender))

    def sent(self, frame: Frame) -> None:
        """Note that a frame has been sent (see FrameHandler)."""
        if frame.kind in _IN_WORKERS_MEMORY:
            with self.members.changed:
                exchange = self._exchanges.incomplete(frame.step)
                exchange.unsent -= 1
                self._wake(exchange)

    def resend(self, sender: int, request: Frame) -> None:
        """Send a damaged frame again (see FrameHandler), if its body has not been overwritten."""
        with self.members.changed:
            exchange, is_previous = self._exchanges.find(request.step)
            if exchange is not None:
                sent = exchange.sent.get((request.scale, request.chunk, request.node))
                is_workers = request.scale in _IN_WORKERS_MEMORY
                if sent is not None and not (is_workers and is_previous):
                    exchange.unsent += is_workers
                    self.members.peers[sender].send(*sent)
                    return
        raise ChecksumError(f"a request for data of step {request.step} that was damaged and is overwritten by now")

    def lost(self, sender: int, why: str, is_damage: bool = False) -> None:
        """Note that a peer is lost, or that its data was damaged on its way (see FrameHandler)."""
        self.members.lose(sender, why, is_damage)
