"""The worker: computes the gradients of the shards it is asked for, from weights it is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from distbp.config import Settings
from distbp.data.dataset import Array, Gather, Rows
from distbp.data.epoch_order import EpochOrder
from distbp.nn.backprop import Backprop
from distbp.nn.dropout import Dropout
from distbp.nn.structure import Parameters, Structure, first_nonfinite_layer
from distbp.parallel.step.diagnosis import is_diagnosed, square_of_kept
from distbp.parallel.step.factor_store import FactorStore
from distbp.parallel.step.records import Divergence, Report
from distbp.parallel.step.shards import Span, children, cut, subtrees

_KEPT_AT_ONCE = 65_536
"""Parameters of which the connections that are left out are set aside at a time, in cache."""


def _nobody_asks(shard: int) -> None:
    pass


class _Compute(NamedTuple):
    """Put the gradient of a shard, the rows ``rows`` of those gathered, into buffer number ``out``."""

    shard: int
    rows: slice
    out: int


class _Gathered(NamedTuple):
    """Rows of a mini-batch, and what each counts."""

    x: Array
    y: Array
    weights: Array | None


class _Add(NamedTuple):
    """Add buffer number ``other`` to buffer number ``out``."""

    out: int
    other: int


class _Plan(NamedTuple):
    """What a worker does for the shards it holds, the same in every step with as many rows."""

    rows: slice
    """The held shards' places in the mini-batch."""
    sums: int
    """How many sums are passed on."""
    work: tuple[_Compute | _Add, ...]
    last: int
    """The place in ``work`` of the last shard; what comes behind are additions."""


class Worker:
    """Computes shard gradients; it knows a shard's rows from the step and the shard's number alone.

    Nothing of a mini-batch's or a parameter vector's size is allocated after the first steps.
    """

    def __init__(self, structure: Structure, config: Settings, rows: Rows) -> None:
        assert config.shards is not None
        self._structure = structure
        self._order = EpochOrder.of(config, len(rows))
        self._shards = config.shards
        self._rows = rows
        self._dtype = config.dtype
        self._gather = Gather(rows, 0, config.dtype)
        rows_per_shard = self._rows_per_shard = cut(self._order.size(0), self._shards)[0].stop
        self._backprop = Backprop(
            structure, rows_per_shard, config.dtype, dropout=config.dropout > 0, smoothing=config.label_smoothing
        )
        self._dropout = None
        if config.dropout:
            self._dropout = Dropout(structure, rows_per_shard, config.dtype, config.dropout, config.seed)
        self._scratch = [
            structure.parameters(np.empty(structure.parameter_count, config.dtype))
            for _ in range((self._shards - 1).bit_length())
        ]
        self._connections = structure.connection_vector(config.dtype)
        self._kept = np.empty(min(structure.parameter_count, _KEPT_AT_ONCE), config.dtype)
        self._fetched: tuple[int, Span, _Gathered] | None = None
        self._plans: dict[tuple[int, Span], _Plan] = {}

    def compute(
        self,
        step: int,
        held: Span,
        weights: Parameters,
        out: Sequence[Parameters],
        begin: Callable[[int], None] = _nobody_asks,
        done: Callable[[int], None] | None = None,
        keep: Callable[[int, int, Array, Array], None] | None = None,
    ) -> Report:
        """Compute the gradients of the shards ``held`` at this step and add them up as far as the tree allows.

        ``out[i]`` receives the gradient's SUM over the examples of ``subtrees(held, shards)[i]``; ``weights`` is not
        changed. ``begin`` is called with a shard's number before it is computed, ``done`` with each layer (counted
        from 0) once it is final in all sums, the last layer first. ``keep`` is called with each shard's number, layer
        l, delta^l and a^{l-1}.
        """
        plan = self._plan(self._order.size(step), held)
        x, y, counts = self._fetch(step, held, plan)
        buffers = [*out[: plan.sums], *self._scratch]
        costs: list[float] = []
        totals: list[float] = []
        squares: list[float] = []
        weight_squares: list[float] = []
        diagnosed = is_diagnosed(step, self._order.steps_per_epoch)
        rows, right, divergence = 0, 0, None
        # A gradient that overflows is found by its sum of squares, not by NumPy's warnings.
        with np.errstate(over="ignore", invalid="ignore"):
            for number, task in enumerate(plan.work):
                target = buffers[task.out]
                if isinstance(task, _Add):
                    np.add(target.flat, buffers[task.other].flat, out=target.flat)
                    continue
                is_last = number == plan.last
                finish = None
                if is_last and done is not None:
                    finish = partial(_finish_layer, plan.work[number + 1 :], buffers, done)
                layer_done = None
                if finish is not None or keep is not None:
                    layer_done = partial(_layer_done, task.shard, keep, finish)
                begin(task.shard)
                masks = self._masks(step, plan.rows.start + task.rows.start, task.rows)
                counted = None if counts is None else counts[task.rows]
                sums = self._backprop.gradient(
                    weights.layers, x[task.rows], y[task.rows], target.layers, masks, counted,
                    layer_done,
                )  # fmt: skip
                count = task.rows.stop - task.rows.start
                costs.append(sums.cost)
                totals.append(float(count) if counted is None else float(counted.sum(dtype=np.float64)))
                # One pass that BLAS does in cache. It finds every infinity and NaN, and values too large to be
                # squared, so that no later sum over shards can overflow.
                squares.append(float(np.dot(target.flat, target.flat)))
                rows += count
                right += sums.right
                if not math.isfinite(sums.cost) or not math.isfinite(squares[-1]):
                    divergence = divergence or self._divergence(sums.cost, target, weights, x[task.rows])
                weight_squares.append(_sum_of_squares(counted, count) if diagnosed else 0.0)
                if diagnosed and self._connections is not None:
                    squares[-1] = square_of_kept(target.flat, self._connections, self._kept)
                if finish is not None:  # what is left to be added was added layer by layer
                    break
        self._fetched = None
        return Report(held, rows, tuple(costs), right, tuple(totals), tuple(squares), tuple(weight_squares), divergence)

    def factor_store(self, folder: Path, workers: int) -> FactorStore:
        """Return where factors are kept for other hosts (see :meth:`compute`), made below ``folder`` by its server."""
        return FactorStore(folder, self._structure, self._shards, self._rows_per_shard, self._dtype, workers)

    def _masks(self, step: int, first: int, rows: slice) -> Sequence[Array]:
        """Return the dropout masks of a shard whose first example has this place in the mini-batch."""
        return self._dropout.masks(step, first, rows.stop - rows.start) if self._dropout is not None else ()

    def prefetch(self, step: int, held: Span) -> None:
        """Gather the rows that :meth:`compute` will need if it is asked for these shards of this step next."""
        if held.stop > min(self._shards, self._order.size(step)):  # a short mini-batch has no such shards
            return
        self._fetched = (step, held, self._fetch(step, held, self._plan(self._order.size(step), held)))

    def _fetch(self, step: int, held: Span, plan: _Plan) -> _Gathered:
        if self._fetched is not None and self._fetched[:2] == (step, held):
            return self._fetched[2]
        indices = self._order.rows(step)[plan.rows]
        if len(indices) > self._gather.capacity:
            self._gather = Gather(self._rows, len(indices), self._dtype)
        return _Gathered(*self._gather(indices), self._gather.weights)

    def _plan(self, mini_batch: int, held: Span) -> _Plan:
        if (mini_batch, held) not in self._plans:
            self._plans[mini_batch, held] = self._make_plan(mini_batch, held)
        return self._plans[mini_batch, held]

    def _make_plan(self, mini_batch: int, held: Span) -> _Plan:
        parts = cut(mini_batch, self._shards)
        first = parts[held.first].first
        spans = subtrees(held, len(parts))
        work: list[_Compute | _Add] = []

        def plan(node: Span, out: int, free: int) -> None:
            if node.stop - node.first == 1:
                part = parts[node.first]
                work.append(_Compute(node.first, slice(part.first - first, part.stop - first), out))
                return
            left, right = children(node)
            plan(left, out, free)
            plan(right, free, free + 1)
            work.append(_Add(out, free))

        for number, span in enumerate(spans):
            plan(span, number, len(spans))
        last = max(number for number, task in enumerate(work) if isinstance(task, _Compute))
        return _Plan(slice(first, parts[held.stop - 1].stop), len(spans), tuple(work), last)

    def _divergence(self, cost: float, gradient: Parameters, weights: Parameters, x: Array) -> Divergence:
        if not math.isfinite(cost):
            return Divergence("the cost", self._backprop.first_nonfinite_layer(weights.layers, x))
        return Divergence("a gradient", first_nonfinite_layer(gradient.layers))


def _sum_of_squares(counted: Array | None, count: int) -> float:
    """Return the sum of the squares of what ``count`` examples count, each 1 if ``counted`` is None."""
    return float(count) if counted is None else float(np.square(counted, dtype=np.float64).sum())


def _layer_done(
    shard: int,
    keep: Callable[[int, int, Array, Array], None] | None,
    finish: Callable[[int], None] | None,
    l: int,
    delta: Array,
    a_prev: Array,
) -> None:
    if keep is not None:
        keep(shard, l, delta, a_prev)
    if finish is not None:
        finish(l)


def _finish_layer(
    rest: Sequence[_Compute | _Add], buffers: Sequence[Parameters], done: Callable[[int], None], l: int
) -> None:
    """Do the additions that are left after the last shard, for one of its layers."""
    for task in rest:
        assert isinstance(task, _Add)
        for target, other in zip(buffers[task.out].layers[l], buffers[task.other].layers[l], strict=True):
            np.add(target, other, out=target)
    done(l)
