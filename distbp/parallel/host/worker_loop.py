"""The worker's loop on one host: it computes what the server asks for, whichever server that is."""

from __future__ import annotations

import time
from functools import partial

from distbp.errors import PeerLostError
from distbp.nn.structure import Structure
from distbp.parallel.host.messages import GO, NO_ROUND, Channel, connect, look_before_sleeping
from distbp.parallel.host.shared_memory import SharedMemory
from distbp.parallel.step.reports import pack_progress, pack_report
from distbp.parallel.step.shards import Span
from distbp.parallel.step.worker import Worker


def heartbeat_seconds(timeout: float) -> float:
    """Return how often a process shows life, so that several beats fall into a timeout."""
    return min(1.0, timeout / 8)


def work(
    worker: Worker,
    structure: Structure,
    exchange: SharedMemory,
    number: int,
    timeout: float,
    wait: float,
    tells_layers: bool = False,
) -> None:
    """Compute what the server asks for until it says that all is done; if it is lost, go on with the next one.

    With ``tells_layers`` the server hears of each layer whose sums are final, while those before are being computed.

    Raises:
        PeerLostError: there was no server for ``wait`` seconds, or it has shown no life for ``timeout`` + ``wait``.
    """
    with exchange.beating(number, heartbeat_seconds(timeout)):
        while True:
            channel = connect(exchange.folder, number, wait)
            if channel is None and not exchange.folder.exists():
                return  # the run has ended before this worker was in it
            if channel is None:
                raise PeerLostError(f"worker {number} found no parameter server for {wait:g} s (--wait)")
            try:
                if _answer(channel, worker, structure, exchange, number, tells_layers, timeout + wait):
                    return
            finally:
                channel.close()


def _answer(
    channel: Channel, worker: Worker, structure: Structure, exchange: SharedMemory, me: int, tells_layers: bool,
    patience: float,
) -> bool:  # fmt: skip
    """Compute what one server asks for; return whether it said that all is done."""
    shards = exchange.shape.shards
    versions = [structure.parameters(version[0]) for version in exchange.states]
    rows = [structure.parameters(row) for row in exchange.slabs]
    doing, spent = exchange.doing, exchange.spent

    store = worker.factor_store(exchange.folder, exchange.shape.workers) if tells_layers else None

    def begin(shard: int) -> None:
        doing[me] = shard

    while (message := _next_order(channel, exchange, me, patience)) is not None:
        step, number, first, stop, row, place = GO.unpack(message)
        if number == NO_ROUND:
            return True
        held = Span(first, stop)
        tell = partial(_tell, channel, number, held, shards) if tells_layers else None
        keep = None
        if store is not None and exchange.factored.any():
            keep = partial(store.write, exchange.factored, place)
        began = time.perf_counter()
        report = worker.compute(step, held, versions[step % 2], rows[row : row + shards], begin, tell, keep)
        spent[me] += time.perf_counter() - began
        doing[me] = -1
        channel.send(pack_report(number, report, shards))
        # While the server updates, the rows of the next step are brought along.
        worker.prefetch(step + 1, held)
        look_before_sleeping(channel.look)
    return False


def _next_order(channel: Channel, exchange: SharedMemory, me: int, patience: float) -> bytes | None:
    """Wait for the server's next order, however long, as long as its heartbeat goes on; return None if it is gone.

    Raises:
        PeerLostError: the server has shown no life for ``patience`` seconds. Those in which this worker was stopped
            itself do not count.
    """
    seconds, silent, seen = heartbeat_seconds(patience), 0.0, -1.0
    while True:
        try:
            return channel.receive(GO.size, seconds)
        except TimeoutError:
            beat = float(exchange.beats[exchange.shape.workers])
            silent, seen = silent + seconds if beat == seen else 0.0, beat
            if silent > patience:
                raise PeerLostError(
                    f"worker {me}: the parameter server has shown no life for {patience:g} s (--timeout and --wait)"
                ) from None


def _tell(channel: Channel, number: int, held: Span, shards: int, layer: int) -> None:
    if layer:  # the first layer is the last, and the report says so
        channel.send(pack_progress(number, held, layer, shards))
