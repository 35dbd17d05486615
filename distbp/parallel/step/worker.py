"""The worker: computes the gradients of the shards it is given, from weights it is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from distbp.config import Settings
from distbp.data.dataset import Array, Rows
from distbp.data.epoch_order import EpochOrder
from distbp.nn.backprop import Backprop
from distbp.nn.dropout import Dropout
from distbp.nn.structure import Parameters, Structure, first_nonfinite_layer
from distbp.parallel.step.diagnosis import is_diagnosed, square_of_kept
from distbp.parallel.step.factor_store import FactorStore
from distbp.parallel.step.mini_batches import Batch, MiniBatches
from distbp.parallel.step.records import Divergence, Report
from distbp.parallel.step.shards import Span, cut
from distbp.parallel.step.work_plan import Add, Compute, WorkPlan, work_plan

_MASKED_AT_ONCE = 65_536
"""Parameters whose missing connections are masked at a time, so that they stay in cache."""

OnLayer = Callable[[int], None]
"""Called with each layer (counted from 0) when the layer's gradient is final in all sums."""
OnFactors = Callable[[int, int, Array, Array], None]
"""Called with each shard, each layer l, and their factors delta^l and a^{l-1}."""


def _ignore(shard: int) -> None:
    pass


class _ShardResult(NamedTuple):
    """A worker's numbers for one shard (see :class:`distbp.parallel.step.records.Report`)."""

    rows: int
    cost: float
    right: int
    weight: float
    square: float
    weight_square: float
    divergence: Divergence | None


class Worker:
    """Computes shard gradients. A shard's rows follow from the step and the shard's number alone.

    After the first steps, no memory of the size of a mini-batch or a parameter vector is allocated.
    """

    def __init__(self, structure: Structure, config: Settings, rows: Rows) -> None:
        self._structure = structure
        self._order = EpochOrder.of(config, len(rows))
        self._shards = config.shards
        self._dtype = config.dtype
        self._batches = MiniBatches(self._order, rows, config.dtype)
        rows_per_shard = self._rows_per_shard = cut(self._order.size(0), self._shards)[0].stop
        self._backprop = Backprop(
            structure, rows_per_shard, config.dtype, dropout=config.dropout > 0, smoothing=config.label_smoothing
        )
        self._dropout = None
        if config.dropout:
            self._dropout = Dropout(structure, rows_per_shard, config.dtype, config.dropout, config.seed)
        self._partial_sums = [
            structure.parameters(np.empty(structure.parameter_count, config.dtype))
            for _ in range((self._shards - 1).bit_length())
        ]
        self._connections = structure.connection_vector(config.dtype)
        self._scratch = np.empty(min(structure.parameter_count, _MASKED_AT_ONCE), config.dtype)

    def compute(
        self,
        step: int,
        span: Span,
        weights: Parameters,
        out: Sequence[Parameters],
        begin: Callable[[int], None] = _ignore,
        done: OnLayer | None = None,
        keep: OnFactors | None = None,
    ) -> Report:
        """Compute the gradients of a step's shards in ``span`` and add them up as far as the tree allows.

        ``out[i]`` receives the gradient's SUM over the examples of ``subtrees(span, shards)[i]``. ``weights`` is only
        read. ``begin`` is called with a shard's number before the shard is computed, ``done`` with each layer (counted
        from 0) once it is final in all sums, last layer first, and ``keep`` with each shard's number, layer l, delta^l
        and a^{l-1}.
        """
        plan = self._plan(step, span)
        batch = self._batches.take(step, plan.rows)
        buffers = [*out[: plan.sums], *self._partial_sums]
        results: list[_ShardResult] = []
        # A gradient that overflows is detected by its sum of squares, not by NumPy's warnings.
        with np.errstate(over="ignore", invalid="ignore"):
            for number, task in enumerate(plan.tasks):
                if isinstance(task, Add):
                    total = buffers[task.out].flat
                    np.add(total, buffers[task.other].flat, out=total)
                    continue
                finish = None
                if number == plan.last and done is not None:
                    finish = partial(_finish_layer, plan.tasks[number + 1 :], buffers, done)
                layer_done = None
                if finish is not None or keep is not None:
                    layer_done = partial(_layer_done, task.shard, keep, finish)
                begin(task.shard)
                results.append(self._compute_shard(step, task, plan, batch, weights, buffers[task.out], layer_done))
                if finish is not None:  # the remaining additions have been done layer by layer
                    break
        return _report(span, results)

    def _compute_shard(
        self,
        step: int,
        task: Compute,
        plan: WorkPlan,
        batch: Batch,
        weights: Parameters,
        out: Parameters,
        layer_done: Callable[[int, Array, Array], None] | None,
    ) -> _ShardResult:
        """Write a shard's gradient into ``out`` and return the shard's other numbers."""
        x, y = batch.x[task.rows], batch.y[task.rows]
        row_weights = None if batch.weights is None else batch.weights[task.rows]
        rows = task.rows.stop - task.rows.start
        masks: Sequence[Array] = ()
        if self._dropout is not None:
            masks = self._dropout.masks(step, plan.rows.start + task.rows.start, rows)
        sums = self._backprop.gradient(weights.layers, x, y, out.layers, masks, row_weights, layer_done)
        weight = float(rows) if row_weights is None else float(row_weights.sum(dtype=np.float64))
        # One pass that BLAS does in cache. It finds every infinity and NaN, and values too large to be
        # squared, so that no later sum over shards can overflow.
        square = float(np.dot(out.flat, out.flat))
        divergence = None
        if not math.isfinite(sums.cost) or not math.isfinite(square):
            divergence = self._divergence(sums.cost, out, weights, x)
        weight_square = 0.0
        if is_diagnosed(step, self._order.steps_per_epoch):
            weight_square = _sum_of_squares(row_weights, rows)
            if self._connections is not None:
                square = square_of_kept(out.flat, self._connections, self._scratch)
        return _ShardResult(rows, sums.cost, sums.right, weight, square, weight_square, divergence)

    def factor_store(self, folder: Path, workers: int) -> FactorStore:
        """Return the factor store that this host's server made in ``folder`` (see ``keep`` of :meth:`compute`)."""
        return FactorStore(folder, self._structure, self._shards, self._rows_per_shard, self._dtype, workers)

    def prefetch(self, step: int, span: Span) -> None:
        """Gather now the rows that :meth:`compute` needs if its next call is for this step and span."""
        if span.stop <= min(self._shards, self._order.size(step)):  # a short mini-batch has fewer shards
            self._batches.prefetch(step, self._plan(step, span).rows)

    def _plan(self, step: int, span: Span) -> WorkPlan:
        return work_plan(self._order.size(step), self._shards, span)

    def _divergence(self, cost: float, gradient: Parameters, weights: Parameters, x: Array) -> Divergence:
        if not math.isfinite(cost):
            return Divergence("the cost", self._backprop.first_nonfinite_layer(weights.layers, x))
        return Divergence("a gradient", first_nonfinite_layer(gradient.layers))


def _report(span: Span, results: Sequence[_ShardResult]) -> Report:
    rows, costs, right, weights, squares, weight_squares, divergences = zip(*results, strict=True)
    divergence = next((each for each in divergences if each is not None), None)
    return Report(span, sum(rows), costs, sum(right), weights, squares, weight_squares, divergence)


def _sum_of_squares(weights: Array | None, rows: int) -> float:
    """Return the sum of the squared weights of some rows, each 1 if ``weights`` is None."""
    return float(rows) if weights is None else float(np.square(weights, dtype=np.float64).sum())


def _layer_done(
    shard: int, keep: OnFactors | None, finish: OnLayer | None, l: int, delta: Array, a_prev: Array
) -> None:
    if keep is not None:
        keep(shard, l, delta, a_prev)
    if finish is not None:
        finish(l)


def _finish_layer(rest: Sequence[Compute | Add], buffers: Sequence[Parameters], done: OnLayer, l: int) -> None:
    """For one layer, do the additions that follow the last shard."""
    for task in rest:
        assert isinstance(task, Add)
        for total, other in zip(buffers[task.out].layers[l], buffers[task.other].layers[l], strict=True):
            np.add(total, other, out=total)
    done(l)
