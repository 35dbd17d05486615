"""One host's end of the exchange: its sums go up to the servers of the chunks, the totals come back.

The parameter vector is cut into chunks, each with a host that serves it: it receives every other host's sums of that
part (complete subtrees of the fixed tree, so the bits are those of one process), adds them up in the tree's order and
sends the total to everybody. With as many servers as hosts each link carries 2 (N - 1) / N times the parameters in each
direction, which is the least that any exact exchange needs (as a ring all-reduce does, Patarasuk and Yuan, 2009). What
backpropagation has finished travels while it goes on with the layers before.

What is sent back is the total, not the new weights: every host applies it to its own copy of weights and optimizer
state, with the same code. So a host that is lost takes no state with it, whichever it is.

Nobody can be more than one step ahead of anybody else, since each step needs everybody's report. So what is received
has two places, one for steps of even and one for steps of odd number.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from distbp.data.dataset import Array
from distbp.data.epoch_order import EpochOrder
from distbp.nn.structure import Structure
from distbp.parallel.mesh.agreement import WeightsDifferError, difference
from distbp.parallel.mesh.factors import FactorBroadcast
from distbp.parallel.mesh.frames import FACTORS, PART, REPORT, TOTAL, ChecksumError, DamagedError, Frame
from distbp.parallel.mesh.membership import Membership
from distbp.parallel.mesh.peers import PeerConnection
from distbp.parallel.mesh.receive_buffers import ReceiveBuffers
from distbp.parallel.mesh.rendezvous import HostsLostError
from distbp.parallel.mesh.step_exchange import HostReports, StepExchange, pack_host_reports, unpack_host_reports
from distbp.parallel.mesh.view import CHUNK, View, chunks_of, nodes_of, pieces_of, sending_order
from distbp.parallel.mesh.wire import Packed, Wire, bytes_of
from distbp.parallel.step.records import Report
from distbp.parallel.step.shards import Span, cut
from distbp.parallel.step.tree import Adder

_LOOK_SECONDS = 0.25
_OWN = PART, FACTORS
"""What lies in memory that workers write over in the next step."""


class Mesh:
    """One host's end of the exchange, for as long as a view lasts."""

    def __init__(self, view: View, here: int, step: int, structure: Structure, dtype: str, order: EpochOrder) -> None:
        """Take part as host number ``here``, from ``step`` on; ``order`` says how many rows a step has."""
        self.view, self.here = view, here
        self._step = step
        self._structure, self._rows = structure, order
        self._totals = np.empty((2, structure.parameter_count), dtype)
        self.agree(None)
        self.members = Membership(view, here)
        """The connections to the other hosts, which belong to this view."""
        self._changed = self.members.changed
        self._wire = Wire(view.wire, dtype)
        self._collections: dict[int, StepExchange] = {}
        self._before: StepExchange | None = None
        """The one of the step before: whoever is still in that step may ask for something again."""
        self._adder = Adder(CHUNK, dtype)
        self.ends = False
        """Whether the run's first host wanted all to stop after the step that was exchanged last."""

    def open(self, listener: socket.socket, secret: bytes, patience: float) -> None:
        """Connect to all other hosts of the view; HostsLostError if they do not come."""
        self.members.open(listener, secret, patience, self)

    def agree(self, factors: FactorBroadcast | None) -> None:
        """Let some layers travel as their factors; before the first step, and the same for all hosts."""
        self._factors = factors
        layers = () if factors is None else factors.layers
        self._chunks = chunks_of(self._structure.bounds, self.view.servers, layers)
        self._order = sending_order(self._chunks, self.view.servers, self.here)
        self._inbox = ReceiveBuffers(self.view, self.here, self._chunks, self._totals, factors)

    def close(self) -> None:
        """Close all connections, and let products be; from another thread."""
        self.members.close()
        if self._factors is not None:
            self._factors.close()

    def span(self, shards: int) -> Span:
        """Return the shards of a mini-batch that this host computes."""
        return self.view.span(self.here, shards)

    def reserve(self, place: int) -> None:
        """Make room for factors at another place than the first; ClusterError if there is too little memory."""
        if self._factors is not None:
            self._factors.reserve(place)

    def begin(self, step: int, apply: Callable[[slice, Array], None] | None) -> None:
        """Begin this host's part of a step; ``apply`` takes each total as it comes, from threads of the mesh.

        A total tells that whoever computes has done the step before, so that nobody needs the state before that again
        (it is written over). Where a host has nothing to compute, nobody knows that of it.

        Raises:
            HostsLostError: this view goes on with another step.
        """
        if step != self._step:
            raise HostsLostError({})
        collection = self._collection(step)
        if len({node.host for node in collection.nodes}) == self.view.hosts:
            collection.apply = apply

    def push(self, step: int, layer: int, sums: Mapping[Span, Array], places: Mapping[int, int]) -> None:
        """Send what is final now that the gradients of ``layer`` (counted from 0) and of all behind it are there.

        ``sums`` are those that this host's workers pass on, whole parameter vectors by the shards that they cover.
        They may not change until :meth:`exchange` has returned. ``places`` are those of shards' factors that are not 0.

        Raises:
            ValueError: it is another step's turn.
        """
        if step != self._step:
            raise ValueError(f"step {self._step} is next, got the sums of step {step}")
        collection = self._collection(step)
        while collection.pushed < len(self._order):
            number = self._order[collection.pushed]
            if self._chunks[number].layer < layer:
                return
            self._send_parts(collection, number, sums, places)
            collection.pushed += 1

    def exchange(
        self, step: int, told: HostReports, sums: Mapping[Span, Array], places: Mapping[int, int]
    ) -> tuple[list[Report], Array]:
        """Return all hosts' reports on this step, and the sum over all shards, valid for two steps.

        ``sums``, ``places`` (see :meth:`push`) and ``told`` are this host's. That it wants to stop counts from host 0
        alone, so that all stop after the same step: see :attr:`ends`.

        Raises:
            HostsLostError: a host is gone, or :meth:`end` was called.
            WeightsDifferError: the hosts have begun this step with different weights.
        """
        self.push(step, 0, sums, places)
        collection = self._collection(step)
        self._send(REPORT, collection, 0, 0, Packed(1.0, memoryview(pack_host_reports(told, self.view.shards))))
        with self._changed:
            collection.told[self.here] = told
            while not collection.is_complete(self.view.hosts):
                self.members.check()
                self._changed.wait(_LOOK_SECONDS)
            self._before = self._collections.pop(step)
            self._step = step + 1
        found = difference(step, {host: collection.told[host].layers for host in sorted(collection.told)})
        if found is not None:
            raise WeightsDifferError(found)
        self.ends = collection.told[0].stop
        return collection.all_reports(), self._totals[step % 2]

    def _collection(self, step: int) -> StepExchange:
        found = self._collections.get(step)
        if found is not None:
            return found
        parts = cut(self._rows.size(step), self.view.shards)
        new = StepExchange(step, parts, nodes_of(self.view, len(parts)), self._chunks, self.here)
        with self._changed:  # another thread may have been quicker
            return self._collections.setdefault(step, new)

    def _send_parts(
        self, collection: StepExchange, number: int, sums: Mapping[Span, Array], places: Mapping[int, int]
    ) -> None:
        """Send this host's sums of a chunk to whoever adds them up."""
        chunk = self._chunks[number]
        peers = [peer for peer in self.members.peers.values() if chunk.server in (None, peer.number)]
        if chunk.is_factored and self._factors is not None:
            peers = []
            for shard in range(*self.span(collection.shards)):
                factors = self._factors.of(collection.step, shard, chunk.layer, places.get(shard, 0))
                self._send(FACTORS, collection, number, shard, Packed(1.0, bytes_of(factors)))
        for index, (span, host) in enumerate(collection.nodes):
            if host != self.here:
                continue
            numbers = self._adder.node(span, sums, chunk.params)
            if peers:
                read = None
                if chunk.server is None:  # whoever adds up takes the same numbers, also this host
                    read = numbers if self._wire.is_exact else self._inbox.sums(collection.step, number, index)
                packed = self._wire.pack(numbers, (number, index), collection.step, read)
                numbers = numbers if read is None else read
                self._send(PART, collection, number, index, packed, peers)
            if chunk.server in (None, self.here):
                self._take(collection, number, span, numbers)

    def _send(
        self,
        kind: int,
        collection: StepExchange,
        number: int,
        node: int,
        packed: Packed,
        to: list[PeerConnection] | None = None,
    ) -> None:
        """Send a frame to these hosts, or to all others."""
        peers = self.members.peers.values() if to is None else to
        frame = Frame.of(kind, collection.step, number, node, packed.scale, packed.body)
        collection.sent[kind, number, node] = frame, packed.body
        if kind in _OWN:
            with self._changed:
                collection.unsent += len(peers)
        for peer in peers:
            peer.send(frame, packed.body)

    def _take(self, collection: StepExchange, number: int, span: Span, numbers: Array) -> None:
        """Take in a sum of a chunk that this host adds up; if it is the last one, tell the total."""
        chunk = self._chunks[number]
        with self._changed:
            parts = collection.part(number, span, numbers, self._inbox.needed(collection, chunk))
        if parts is None:
            return
        total = self._inbox.total(collection.step, chunk.params)
        for piece in pieces_of(slice(0, len(total))):
            self._adder.add(Span(0, collection.shards), parts, piece, total[piece])
        if chunk.server is not None:
            packed = self._wire.pack(total, number, collection.step, total)
            self._send(TOTAL, collection, number, 0, packed)
        self._close(collection, number)

    def _close(self, collection: StepExchange, number: int) -> None:
        """Note that one more chunk's total is there."""
        if collection.apply is not None:
            for piece in pieces_of(self._chunks[number].params):
                collection.apply(piece, self._totals[collection.step % 2])
        with self._changed:
            if number not in collection.open:
                raise DamagedError(f"the total of chunk {number} twice")
            collection.open.discard(number)
            self._wake(collection)

    def _wake(self, collection: StepExchange) -> None:
        """Let :meth:`exchange` go on once there is nothing left to wait for; whoever calls holds the lock."""
        if collection.is_complete(self.view.hosts):
            self._changed.notify_all()

    def place(self, sender: int, frame: Frame) -> memoryview:
        """Return where the numbers of a frame belong."""
        room = self._inbox.room(sender, frame, self._collection_of(frame))
        if frame.kind == FACTORS:
            return bytes_of(room)
        return self._wire.room(room, (frame.step % 2, frame.kind, frame.chunk, frame.node))

    def _collection_of(self, frame: Frame) -> StepExchange:
        """Return what has come of a frame's step, if somebody can be that far."""
        if frame.step not in (self._step, self._step + 1) or frame.chunk >= len(self._chunks):
            raise DamagedError(f"chunk {frame.chunk} of step {frame.step} in step {self._step}")
        return self._collection(frame.step)

    def arrived(self, sender: int, frame: Frame, body: memoryview) -> None:
        """Take in what a peer has sent."""
        collection = self._collection_of(frame)
        if frame.kind == REPORT:
            told = unpack_host_reports(body, self._structure.depth, self.view.shards)
            with self._changed:
                collection.report(sender, told, self.view.span(sender, collection.shards))
                self._wake(collection)
            return
        numbers = self._inbox.room(sender, frame, collection)
        if frame.kind == FACTORS:
            self._form(sender, frame, collection, numbers)
            return
        self._wire.unpack(body, numbers, frame.scale)
        if frame.kind == TOTAL:
            self._close(collection, frame.chunk)
        else:
            self._take(collection, frame.chunk, collection.nodes[frame.node].span, numbers)

    def _form(self, sender: int, frame: Frame, collection: StepExchange, factors: Array) -> None:
        """Have a product formed and taken in, by a thread that does nothing else."""
        assert self._factors is not None
        out = self._inbox.sums(frame.step, frame.chunk, frame.node)

        def take() -> None:
            self._take(collection, frame.chunk, Span(frame.node, frame.node + 1), out)

        layer = self._chunks[frame.chunk].layer
        self._factors.form(frame.step, frame.node, layer, factors, out, take, partial(self.lost, sender))

    def sent(self, frame: Frame) -> None:
        """Note that bytes of this host's own are no longer needed."""
        if frame.kind in _OWN:
            with self._changed:
                collection = self._collections[frame.step]
                collection.unsent -= 1
                self._wake(collection)

    def again(self, sender: int, frame: Frame) -> None:
        """Send once more what was damaged on its way, if it is still as it was."""
        with self._changed:
            collection = self._collections.get(frame.step, self._before)
            if collection is not None and collection.step == frame.step:
                sent = collection.sent.get((frame.scale, frame.chunk, frame.node))
                is_own = frame.scale in _OWN
                if sent is not None and not (is_own and collection is self._before):
                    collection.unsent += is_own
                    self.members.peers[sender].send(*sent)
                    return
        raise ChecksumError(f"a wish for what was damaged in step {frame.step} and is written over")

    def lost(self, sender: int, why: str, is_damage: bool = False) -> None:
        """Note that a peer is gone, or that what it sent was damaged."""
        self.members.lose(sender, why, is_damage)
