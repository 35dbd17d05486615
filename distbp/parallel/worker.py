"""The worker: computes the gradients of the shards it is asked for, from weights it is given."""

from __future__ import annotations

import numpy as np

from distbp.config import Config
from distbp.data.dataset import Array, Gather, Rows
from distbp.data.order import Order
from distbp.nn.backprop import Backprop
from distbp.nn.structure import Layer, Structure, first_bad_layer
from distbp.parallel.records import Divergence, Report
from distbp.parallel.shards import Span, children, cut, subtrees


class Worker:
    """Computes shard gradients; it knows a shard's rows from the step and the shard's number alone."""

    def __init__(self, structure: Structure, config: Config, rows: Rows) -> None:
        assert config.shards is not None
        self._structure = structure
        self._order = Order(len(rows), config.batch_size, config.seed)
        self._shards = config.shards
        largest = cut(self._order.size(0), self._shards)[0].stop
        self._gather = Gather(rows, largest, config.dtype)
        self._backprop = Backprop(structure, largest, config.dtype)
        self._buffers = np.empty((0, structure.parameter_count), config.dtype)
        self._views: list[tuple[Layer, ...]] = []
        self._report: list[tuple[int, float, int, Divergence | None]] = []

    def push(self, step: int, held: Span, weights: Array) -> tuple[Report, Array]:
        """Return the gradients of the shards ``held`` at this step, added up as far as the tree allows.

        Row i of the array, shape (len(subtrees), parameters), is the gradient's SUM over the examples of
        ``subtrees(held, shards)[i]``; it is valid until the next call. ``weights`` is not changed.
        """
        mini_batch = self._order.rows(step)
        parts = cut(len(mini_batch), self._shards)
        spans = subtrees(held, len(parts))
        self._reserve(len(spans) + (len(parts) - 1).bit_length())
        self._report.clear()
        layers = self._structure.layers(weights)
        # A gradient that overflows is found by its sum of squares, not by NumPy's warnings.
        with np.errstate(over="ignore", invalid="ignore"):
            for number, span in enumerate(spans):
                self._sum(span, number, len(spans), mini_batch, parts, layers)
        rows, costs, right, divergences = zip(*self._report, strict=True)
        divergence = next((found for found in divergences if found is not None), None)
        return Report(held, sum(rows), costs, sum(right), divergence), self._buffers[: len(spans)]

    def _reserve(self, count: int) -> None:
        if count > len(self._buffers):
            self._buffers = np.empty((count, self._structure.parameter_count), self._buffers.dtype)
            self._views = [self._structure.layers(buffer) for buffer in self._buffers]

    def _sum(
        self, node: Span, out: int, free: int, mini_batch: Array, parts: list[Span], layers: tuple[Layer, ...]
    ) -> None:
        """Put the sum over the tree's node into buffer ``out``, using the buffers from ``free`` on."""
        if node.stop - node.first == 1:
            self._shard(mini_batch[slice(*parts[node.first])], layers, out)
            return
        left, right = children(node)
        self._sum(left, out, free, mini_batch, parts, layers)
        self._sum(right, free, free + 1, mini_batch, parts, layers)
        np.add(self._buffers[out], self._buffers[free], out=self._buffers[out])

    def _shard(self, indices: Array, layers: tuple[Layer, ...], out: int) -> None:
        """Put one shard's gradient into buffer ``out`` and note its sums."""
        x, y = self._gather(indices)
        sums = self._backprop.gradient(layers, x, y, self._views[out])
        divergence = None
        if not np.isfinite(sums.cost):
            divergence = Divergence("the cost", self._backprop.first_bad_layer(len(x)))
        else:
            gradient = self._buffers[out]
            # One pass that BLAS does in cache. It finds every infinity and NaN, and values too large to be squared,
            # so that no later sum over shards can overflow.
            if not np.isfinite(np.dot(gradient, gradient)):
                divergence = Divergence("a gradient", first_bad_layer(self._views[out]))
        self._report.append((len(indices), sums.cost, sums.right, divergence))
