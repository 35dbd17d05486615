"""Sufficient factor broadcasting between hosts (Xie et al. 2014; Poseidon, Zhang et al. 2017).

dC/dw^l = (delta^l)^T a^{l-1} is a product whose rank is at most the number of the shard's examples. For few examples
and a wide layer, its sufficient factors delta^l and a^{l-1} are much smaller than the product. In the first layer
delta^1 suffices, since every host has the rows of x. So each host broadcasts the factors of its shards, and every
receiver reconstructs each shard's product, with the shape and the thread count of the worker's own product, which gives
the same bits. The tree then adds the products. The price is that each host computes the products of all others.
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
"""Measuring time per layer, long enough to average over the 0.1 s periods of a CPU limit by control groups."""
_MOST_SECONDS = 1.0
"""Measuring time of all layers together, not counting the first product of each."""


class Reconstructor:
    """Reconstructs layer gradients from a shard's factors, on any thread."""

    def __init__(self, structure: Structure, config: Settings, rows: Rows) -> None:
        self._structure, self.shards, self.dtype = structure, config.shards, config.dtype
        self._rows = rows
        self._new_order: Callable[[], EpochOrder] = lambda: EpochOrder.of(config, len(rows))
        self._own = threading.local()
        self.rows = cut(self._new_order().size(0), self.shards)[0].stop
        """Most rows of a shard."""
        self._ones = np.ones(self.rows, self.dtype)
        self._seconds: dict[int, float] = {}

    def size(self, layer: int, rows: int) -> int:
        """Return how many numbers the factors of a shard of ``rows`` rows have."""
        return factor_size(self._structure, layer, rows)

    def seconds(self, layers: Sequence[int]) -> Mapping[int, float]:
        """Return each layer's mean time to form and add a product, measured by the first call."""
        if not self._seconds:
            patience = min(_MEASURED_SECONDS, _MOST_SECONDS / max(1, len(layers)))
            self._seconds = {layer: self._mean_seconds(layer, patience) for layer in layers}
        return self._seconds

    def _mean_seconds(self, layer: int, patience: float) -> float:
        factors = np.zeros(self.size(layer, self.rows), self.dtype)
        out = np.empty(self._structure.bounds[layer + 1] - self._structure.bounds[layer], self.dtype)
        total = np.zeros_like(out)
        self.form(0, 0, layer, self.rows, factors, out)  # not timed: the first product touches new memory
        began, formed, taken = time.perf_counter(), 0, 0.0
        while taken < patience:
            self.form(0, 0, layer, self.rows, factors, out)
            np.add(total, out, out=total)
            formed, taken = formed + 1, time.perf_counter() - began
        return taken / formed

    def form(self, step: int, shard: int, layer: int, rows: int, factors: Array, out: Array) -> None:
        """Write the gradient of a layer (counted from 0) over a shard of ``rows`` rows into ``out``: w, then b."""
        m_prev, m = self._structure.sizes[layer], self._structure.sizes[layer + 1]
        delta = factors[: rows * m].reshape(rows, m)
        a_prev = factors[rows * m :].reshape(rows, m_prev) if layer else self._x(step, shard)
        with np.errstate(over="ignore", invalid="ignore"):
            layer_gradient(delta, a_prev, self._ones[:rows], out[: m * m_prev].reshape(m, m_prev), out[m * m_prev :])

    def _x(self, step: int, shard: int) -> Array:
        """Return a shard's rows of x."""
        own = self._own
        if not hasattr(own, "order"):
            own.order, own.gather = self._new_order(), Gather(self._rows, self.rows, self.dtype)
        indices = own.order.rows(step)
        x: Array = own.gather(indices[slice(*cut(len(indices), self.shards)[shard])])[0]
        return x


class FactorBroadcast:
    """One host's side of sufficient factor broadcasting, for the duration of a view."""

    def __init__(
        self, store: FactorStore, reconstructor: Reconstructor, layers: Sequence[int], order: EpochOrder, threads: int
    ) -> None:
        """Reconstruct on ``threads`` threads, as many as this host's workers have cores."""
        self.layers = tuple(layers)
        self._store, self._reconstructor, self._order = store, reconstructor, order
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="distbp-products")
        self._buffers: dict[tuple[int, int, int], Array] = {}

    def reserve(self, slot: int) -> None:
        """Allocate the memory of a slot.

        Raises:
            ClusterError: there is too little shared memory.
        """
        self._store.reserve(slot)

    def own(self, step: int, shard: int, layer: int, slot: int) -> Array:
        """Return the factors of one of this host's shards."""
        return self._store.read(slot, shard, layer, self._reconstructor.size(layer, self._rows(step, shard)))

    def buffer_for(self, step: int, shard: int, layer: int) -> Array:
        """Return the buffer for the factors of another host's shard, valid for two steps."""
        key = step % 2, shard, layer
        if key not in self._buffers:
            most = self._reconstructor.size(layer, self._rows(0, 0))
            self._buffers[key] = np.empty(most, self._reconstructor.dtype)
        return self._buffers[key][: self._reconstructor.size(layer, self._rows(step, shard))]

    def reconstruct(
        self,
        step: int,
        shard: int,
        layer: int,
        factors: Array,
        out: Array,
        done: Callable[[], None],
        fail: Callable[[str], None],
    ) -> None:
        """Write the product of these factors into ``out`` on another thread, which then calls ``done`` or ``fail``."""

        def work() -> None:
            try:
                self._reconstructor.form(step, shard, layer, self._rows(step, shard), factors, out)
                done()
            except Exception as error:  # the thread pool would swallow the exception
                fail(f"sent factors whose product failed: {error}")

        self._threads.submit(work)

    def close(self) -> None:
        """Cancel the products that have not started, and end the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _rows(self, step: int, shard: int) -> int:
        size = self._order.size(step)
        return int(np.diff(cut(size, self._reconstructor.shards)[shard])[0])
