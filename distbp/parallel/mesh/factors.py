"""Gradients that travel as their factors.

dC/dw^l = (delta^l)^T a^{l-1} has at most as many independent rows as the shard has examples. Where those are few and
the layer is wide, delta^l and a^{l-1} are much smaller than their product; of the first layer delta^1 alone, since
every host has the rows of x. Whoever receives them forms each shard's product alone, with the shape and the threads
that the worker has, so the bits are the same; only then it is added by the tree. That costs each host the others'
products.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from distbp.config import Settings
from distbp.data.dataset import Array, Gather, Rows
from distbp.data.epoch_order import EpochOrder
from distbp.nn.backprop import layer_gradient
from distbp.nn.structure import Structure
from distbp.parallel.step.factor_store import FactorStore, factor_size
from distbp.parallel.step.shards import cut

_MEASURED_SECONDS = 0.3
"""For a product: so long that a share of the CPU, given by control groups in periods of 0.1 s, shows as what it is."""
_MOST_SECONDS = 1.0
"""For all of them together, but for the first product of each."""


class Reconstructor:
    """Forms the gradient of a layer from a shard's factors, on any thread."""

    def __init__(self, structure: Structure, config: Settings, rows: Rows) -> None:
        assert config.shards is not None
        self._structure, self.shards, self.dtype = structure, config.shards, config.dtype
        self._rows = rows
        self._order: Callable[[], EpochOrder] = lambda: EpochOrder.of(config, len(rows))
        self._own = threading.local()
        self.rows = cut(self._order().size(0), self.shards)[0].stop
        """Of a shard, at most."""
        self._ones = np.ones(self.rows, self.dtype)
        self._seconds: dict[int, float] = {}

    def size(self, layer: int, rows: int) -> int:
        """Return how many numbers a shard's factors have."""
        return factor_size(self._structure, layer, rows)

    def seconds(self, layers: Sequence[int]) -> Mapping[int, float]:
        """Measure, once, how long each layer's product and its addition take, as a mean."""
        if not self._seconds:
            patience = min(_MEASURED_SECONDS, _MOST_SECONDS / max(1, len(layers)))
            self._seconds = {layer: self._mean(layer, patience) for layer in layers}
        return self._seconds

    def _mean(self, layer: int, patience: float) -> float:
        factors = np.zeros(self.size(layer, self.rows), self.dtype)
        out = np.empty(self._structure.bounds[layer + 1] - self._structure.bounds[layer], self.dtype)
        total = np.zeros_like(out)
        self.form(0, 0, layer, self.rows, factors, out)  # which touches new memory
        began, formed, taken = time.perf_counter(), 0, 0.0
        while taken < patience:
            self.form(0, 0, layer, self.rows, factors, out)
            np.add(total, out, out=total)
            formed, taken = formed + 1, time.perf_counter() - began
        return taken / formed

    def form(self, step: int, shard: int, layer: int, count: int, factors: Array, out: Array) -> None:
        """Write the gradient of a layer (counted from 0) over a shard of ``count`` rows, first w, then b."""
        m_prev, m = self._structure.sizes[layer], self._structure.sizes[layer + 1]
        delta = factors[: count * m].reshape(count, m)
        a_prev = factors[count * m :].reshape(count, m_prev) if layer else self._x(step, shard)
        with np.errstate(over="ignore", invalid="ignore"):
            layer_gradient(delta, a_prev, self._ones[:count], out[: m * m_prev].reshape(m, m_prev), out[m * m_prev :])

    def _x(self, step: int, shard: int) -> Array:
        """Return the rows of x of a shard."""
        own = self._own
        if not hasattr(own, "order"):
            own.order, own.gather = self._order(), Gather(self._rows, self.rows, self.dtype)
        indices = own.order.rows(step)
        x: Array = own.gather(indices[slice(*cut(len(indices), self.shards)[shard])])[0]
        return x


class FactorBroadcast:
    """One host's side of the layers that travel as factors, in one view."""

    def __init__(
        self, store: FactorStore, products: Reconstructor, layers: Sequence[int], order: EpochOrder, threads: int
    ) -> None:
        """Form products on so many threads, as many as workers have cores here."""
        self.layers = tuple(layers)
        self._store, self._products, self._order = store, products, order
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="distbp-products")
        self._rooms: dict[tuple[int, int, int], Array] = {}

    def reserve(self, place: int) -> None:
        """Make sure that this place can be written.

        Raises:
            ClusterError: there is too little shared memory.
        """
        self._store.reserve(place)

    def of(self, step: int, shard: int, layer: int, place: int) -> Array:
        """Return the factors of a shard of this host."""
        return self._store.read(place, shard, layer, self._products.size(layer, self._rows(step, shard)))

    def room(self, step: int, shard: int, layer: int) -> Array:
        """Return where the factors of another host's shard belong, valid for two steps."""
        key = step % 2, shard, layer
        if key not in self._rooms:
            self._rooms[key] = np.empty(self._products.size(layer, self._rows(0, 0)), self._products.dtype)
        return self._rooms[key][: self._products.size(layer, self._rows(step, shard))]

    def form(
        self,
        step: int,
        shard: int,
        layer: int,
        factors: Array,
        out: Array,
        take: Callable[[], None],
        fail: Callable[[str], None],
    ) -> None:
        """Have the product of these factors written to ``out``; then ``take`` is called, or ``fail`` with why not."""

        def work() -> None:
            try:
                self._products.form(step, shard, layer, self._rows(step, shard), factors, out)
                take()
            except Exception as error:  # nobody else would hear of it
                fail(f"sent factors whose product failed: {error}")

        self._threads.submit(work)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _rows(self, step: int, shard: int) -> int:
        size = self._order.size(step)
        return int(np.diff(cut(size, self._products.shards)[shard])[0])
