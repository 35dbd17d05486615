"""The worker's loop on one host: it carries out the orders of the server, and of later ones if that is lost."""

from __future__ import annotations

import time
from functools import partial

from distbp.errors import PeerLostError
from distbp.nn.structure import Structure
from distbp.parallel.host.channel import Channel, connect, spin_before_sleeping
from distbp.parallel.host.messages import NO_ROUND, ORDER, LayerDone, WorkerReport, pack_worker_message
from distbp.parallel.host.shared_memory import SharedMemory
from distbp.parallel.step.shards import Span
from distbp.parallel.step.worker import Worker


def heartbeat_seconds(timeout: float) -> float:
    """Return the time between a process's heartbeats, short enough for several within one timeout."""
    return min(1.0, timeout / 8)


def work(
    worker: Worker,
    structure: Structure,
    memory: SharedMemory,
    number: int,
    timeout: float,
    wait: float,
    sends_layers: bool = False,
) -> None:
    """Compute what the server orders, until the run ends; if the server is lost, connect to the next one.

    With ``sends_layers``, the worker also reports each layer whose sums are final while it computes the layers before.

    Raises:
        PeerLostError: there was no server for ``wait`` seconds, or it sent no heartbeat for ``timeout`` + ``wait``.
    """
    with memory.processes.heartbeat(number, heartbeat_seconds(timeout)):
        while True:
            channel = connect(memory.folder, number, wait)
            if channel is None and not memory.folder.exists():
                return  # the run ended before this worker joined it
            if channel is None:
                raise PeerLostError(f"worker {number} found no parameter server for {wait:g} s (--wait)")
            try:
                if _serve(channel, worker, structure, memory, number, sends_layers, timeout + wait):
                    return
            finally:
                channel.close()


def _serve(
    channel: Channel,
    worker: Worker,
    structure: Structure,
    memory: SharedMemory,
    number: int,
    sends_layers: bool,
    patience: float,
) -> bool:
    """Compute what one server orders; return whether the run has ended."""
    shards = memory.shape.shards
    versions = [structure.parameters(version[0]) for version in memory.states]
    rows = [structure.parameters(row) for row in memory.slabs]
    doing, spent = memory.doing, memory.spent
    store = worker.factor_store(memory.folder, memory.shape.workers) if sends_layers else None

    def begin(shard: int) -> None:
        doing[number] = shard

    while (message := _next_order(channel, memory, number, patience)) is not None:
        step, which, first, stop, row, factor_buffer = ORDER.unpack(message)
        if which == NO_ROUND:
            return True
        span = Span(first, stop)
        done = partial(_send_layer, channel, which, span, shards) if sends_layers else None
        keep = None
        if store is not None and memory.factored.any():
            keep = partial(store.write, memory.factored, factor_buffer)
        began = time.perf_counter()
        report = worker.compute(step, span, versions[step % 2], rows[row : row + shards], begin, done, keep)
        spent[number] += time.perf_counter() - began
        doing[number] = -1
        channel.send(pack_worker_message(WorkerReport(which, report), shards))
        worker.prefetch(step + 1, span)  # gather the next step's rows while the server updates
        spin_before_sleeping(channel.has_input)
    return False


def _next_order(channel: Channel, memory: SharedMemory, number: int, patience: float) -> bytes | None:
    """Wait for the next order while the server sends heartbeats; return None if it has closed the channel.

    Raises:
        PeerLostError: the server has sent no heartbeat for ``patience`` seconds, not counting the time for which this
            process was stopped itself.
    """
    seconds, silence, last = heartbeat_seconds(patience), 0.0, -1.0
    while True:
        try:
            return channel.receive(ORDER.size, seconds)
        except TimeoutError:
            heartbeat = float(memory.processes.heartbeats[memory.shape.workers])
            silence, last = silence + seconds if heartbeat == last else 0.0, heartbeat
            if silence > patience:
                raise PeerLostError(
                    f"worker {number}: the parameter server has sent no heartbeat for {patience:g} s "
                    "(--timeout and --wait)"
                ) from None


def _send_layer(channel: Channel, number: int, span: Span, shards: int, layer: int) -> None:
    if layer:  # layer 0 finishes last; the report itself announces it
        channel.send(pack_worker_message(LayerDone(number, span, layer), shards))
