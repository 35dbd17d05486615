"""The parameter server: adds up each step's shard gradients, divides once, and updates the weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np

from distbp.data.dataset import Array
from distbp.nn.structure import Parameters, Structure, first_nonfinite_layer
from distbp.optim import Rule
from distbp.parallel.step.blocks import Block, blocks_of
from distbp.parallel.step.diagnosis import layer_norms, noise, square_of_kept
from distbp.parallel.step.early_updates import EarlyUpdates
from distbp.parallel.step.layer_hashes import hashes, words_of
from distbp.parallel.step.records import Diagnosis, Divergence, Report, StepRecord
from distbp.parallel.step.shards import Addition, Span
from distbp.parallel.step.tree import add_up, buffers_of, plan_of

_Outcome = TypeVar("_Outcome")

_MOST_THREADS = 4
"""Largest number of threads; more gain nothing, because memory bandwidth limits an update, not arithmetic."""


class ParameterServer:
    """The weights and the optimizer's state, and the only code that changes them.

    There are two copies of the state. A step reads one and writes the other, and takes effect only when ``step`` is
    incremented. So a step that fails half-way, or diverges, leaves the state before it intact.
    """

    def __init__(self, structure: Structure, rule: Rule, states: Array, step: int = 0) -> None:
        """Continue after ``step`` steps; ``states``, shape (2, 1 + slots, parameters), holds the state at step % 2."""
        self._structure = structure
        self._rule = rule
        self._states = states
        self._weights = [structure.parameters(version[0]) for version in states]
        self._words = [words_of(structure, version[0]) for version in states]
        self._parts = blocks_of(structure, states, _MOST_THREADS)
        self._scratch: list[Array] = []
        self._mean: Parameters | None = None
        self._early: EarlyUpdates | None = None
        self.step = step
        self.factor = 1.0
        """A factor of the learning rate besides the schedule's; the driver sets it from the epochs' costs."""

    @property
    def state(self) -> Array:
        """Weights and optimizer state after ``step`` steps, shape (1 + slots, parameters); valid for two steps."""
        state: Array = self._states[self.step % 2]
        return state

    @property
    def weights(self) -> Parameters:
        """The weights after ``step`` steps; valid for two steps."""
        return self._weights[self.step % 2]

    def layers(self) -> tuple[int, ...]:
        """Return the layers' hashes after ``step`` steps (see distbp.parallel.step.layer_hashes)."""
        return hashes(self._words[self.step % 2])

    def begin_early(self, rows: int, diagnose: bool) -> Callable[[slice, Array], None] | None:
        """Begin a step of ``rows`` rows whose totals arrive range by range.

        Return the function that applies each total, on any thread; None if the update has to wait for the complete
        gradient. :meth:`update` has to be called in either case.
        """
        if self._early is None:
            self._early = EarlyUpdates(self._structure, self._states, self._finish_early)
        return self._early.begin(rows, is_possible=not diagnose and self._rule.clip_norm is None)

    def _finish_early(self, block: Block, total: Array, divisor: float, scratch: Array) -> bool:
        root = Span(0, 1)
        buffers = scratch[:, : block.params.stop - block.params.start]
        mean = self._mean_of(block, (), {root: total}, root, divisor, buffers)
        return self._finish(block, self._regularize(block, mean, buffers), buffers, 1.0)

    def update(
        self,
        step: int,
        reports: Sequence[Report],
        gradients: Mapping[Span, Array],
        began: float | None = None,
        diagnose: bool = False,
    ) -> StepRecord:
        """Update the weights in step number ``step`` from the gradient sums of all shards; return the step's record.

        The total cost's gradient is the sum over all examples divided by their total weight (their number, without
        weights), and this is the only division. If the record shows a divergence, the state is unchanged. ``began`` is
        the ``time.perf_counter()`` at the start of the step; ``diagnose`` adds norms to the record.

        Raises:
            ValueError: another step is next, or a shard is missing.
        """
        if step != self.step:
            raise ValueError(f"step {self.step} is next, got the gradients of step {step}")
        reports = sorted(reports, key=lambda report: report.span)
        rows, right, weight, cost, divergence = _totals_of(reports)
        divisor = weight or 1.0  # if all weights are 0, the gradient is 0 too
        diagnosis = None
        is_finite = None if self._early is None else self._early.end(rows, divisor)
        if divergence is None and is_finite is not None:
            divergence = self._complete(is_finite)
        elif divergence is None:
            root = Span(0, reports[-1].span.stop)
            if diagnose or self._rule.clip_norm is not None:
                divergence, diagnosis = self._apply_in_two_passes(gradients, root, divisor, reports if diagnose else ())
            else:
                divergence = self._apply(gradients, root, divisor)
        layers: tuple[int, ...] = ()
        if divergence is None:
            self.step += 1
            layers = self.layers()
        seconds = time.perf_counter() - began if began else 0.0
        return StepRecord(step, rows, cost / divisor, right, seconds, divergence, layers, weight, diagnosis)

    def _apply(self, gradients: Mapping[Span, Array], root: Span, divisor: float) -> Divergence | None:
        """Write the state after this step, finishing each block while it is in cache."""
        plan = self._plan(root, gradients)

        def finish(block: Block, scratch: Array) -> bool:
            mean = self._mean_of(block, plan, gradients, root, divisor, scratch)
            return self._finish(block, self._regularize(block, mean, scratch), scratch, 1.0)

        def update(part: list[Block], scratch: Array) -> bool:
            return all(finish(block, scratch) for block in part)

        return self._complete(all(self._each_part(update)))

    def _apply_in_two_passes(
        self, gradients: Mapping[Span, Array], root: Span, divisor: float, reports: Sequence[Report]
    ) -> tuple[Divergence | None, Diagnosis | None]:
        """Write the state after this step in two passes, because clipping and diagnosis need the complete gradient."""
        plan = self._plan(root, gradients)
        if self._mean is None:
            self._mean = self._structure.parameters(np.empty(self._states.shape[2], self._states.dtype))
        mean = self._mean.flat

        def average(part: list[Block], scratch: Array) -> list[tuple[float, float]]:
            squares = []
            for block in part:
                part_mean = mean[block.params]
                self._mean_of(block, plan, gradients, root, divisor, scratch, part_mean)
                of_data = _square(part_mean, block, scratch) if reports else 0.0
                self._regularize(block, part_mean, scratch)
                squares.append((of_data, float(np.dot(part_mean, part_mean))))
            return squares

        parts = self._each_part(average)
        square_of_data, square = (sum([each[i] for part in parts for each in part]) for i in range(2))
        scale, clip = 1.0, self._rule.clip_norm
        if clip is not None and math.sqrt(square) > clip:
            scale = clip / math.sqrt(square)
        norms = layer_norms(self._mean.layers) if reports else ()

        def finish(part: list[Block], scratch: Array) -> bool:
            return all(self._finish(block, mean[block.params], scratch, scale) for block in part)

        divergence = self._complete(all(self._each_part(finish)))
        if divergence is not None or not reports:
            return divergence, None
        old, new = self._states[self.step % 2][0], self._states[(self.step + 1) % 2][0]
        np.subtract(new, old, out=mean)
        changes, weights = layer_norms(self._mean.layers), layer_norms(self._weights[self.step % 2].layers)
        return None, Diagnosis(norms, changes, weights, *noise(reports, square_of_data))

    def _each_part(self, work: Callable[[list[Block], Array], _Outcome]) -> list[_Outcome]:
        """Call ``work`` on every group of blocks, each on its own thread."""

        def quietly(part: list[Block], scratch: Array) -> _Outcome:
            # each thread has its own NumPy error state
            with np.errstate(over="ignore", invalid="ignore"):
                return work(part, scratch)

        if len(self._parts) == 1:
            return [quietly(self._parts[0], self._scratch[0])]
        return list(_threads().map(quietly, self._parts, self._scratch))

    def _plan(self, root: Span, gradients: Mapping[Span, Array]) -> Sequence[Addition]:
        """Return the additions for the sum of ``root``, and make sure that the scratch rows suffice."""
        plan = plan_of(root, tuple(gradients))
        buffers = 1 + buffers_of(plan)
        if not self._scratch or len(self._scratch[0]) < buffers:
            longest = max(block.params.stop - block.params.start for part in self._parts for block in part)
            self._scratch = [np.empty((buffers, longest), self._states.dtype) for _ in self._parts]
        return plan

    def _mean_of(
        self,
        block: Block,
        plan: Sequence[Addition],
        gradients: Mapping[Span, Array],
        root: Span,
        divisor: float,
        scratch: Array,
        out: Array | None = None,
    ) -> Array:
        """Return one block of the total cost's gradient, in ``out`` or in the first scratch row."""
        buffers = scratch[:, : block.params.stop - block.params.start]
        mean: Array = buffers[0] if out is None else out
        np.divide(add_up(plan, gradients, root, block.params, buffers), divisor, out=mean)
        return mean

    def _regularize(self, block: Block, mean: Array, scratch: Array) -> Array:
        """Add the penalties' gradient to a block's ``mean``, mask missing connections, clip; return it."""
        rule, old = self._rule, block.states[self.step % 2][0]
        for weights in block.weights if rule.l1 or rule.l2 else ():
            spare = scratch[1, : len(mean)][weights]
            if rule.l2:
                np.multiply(old[weights], rule.l2, out=spare)
                np.add(mean[weights], spare, out=mean[weights])
            if rule.l1:
                np.sign(old[weights], out=spare)
                np.multiply(spare, rule.l1, out=spare)
                np.add(mean[weights], spare, out=mean[weights])
        if block.connections is not None:
            np.multiply(mean, block.connections, out=mean)
        if rule.clip_value is not None:
            np.clip(mean, -rule.clip_value, rule.clip_value, out=mean)
        return mean

    def _finish(self, block: Block, mean: Array, scratch: Array, scale: float) -> bool:
        """Update the parameters of one block; return whether they are finite."""
        old, new = block.states[self.step % 2], block.states[(self.step + 1) % 2]
        if scale != 1.0:
            np.multiply(mean, scale, out=mean)
        rate = self._rule.rate(self.step) * self.factor
        self._rule.optimizer.update(old, new, mean, self.step, rate, scratch[1, : len(mean)])
        return math.isfinite(np.dot(new[0], new[0]))

    def _complete(self, is_finite: bool) -> Divergence | None:
        """Limit the norms of the new weights; return a divergence if the new parameters are not finite."""
        layers = self._weights[(self.step + 1) % 2].layers
        if not is_finite:
            return Divergence("a weight", first_nonfinite_layer(layers))
        most = self._rule.max_norm
        if most is not None:
            for w, _ in layers:
                lengths = np.sqrt(np.einsum("kj,kj->k", w, w))
                for k in np.flatnonzero(lengths > most):
                    w[k] *= most / lengths[k]
        return None


class _Totals(NamedTuple):
    """The sums over the reports of a step, and the first divergence."""

    rows: int
    right: int
    weight: float
    cost: float
    divergence: Divergence | None


def _totals_of(reports: Sequence[Report]) -> _Totals:
    """Add up reports shard by shard, so that the order is the same for any number of workers."""
    rows, right, weight, cost, divergence = 0, 0, 0.0, 0.0, None
    for report in reports:
        rows += report.rows
        right += report.right
        divergence = divergence or report.divergence
        for shard_weight, shard_cost in zip(report.weights, report.costs, strict=True):
            weight += shard_weight
            cost += shard_cost
    return _Totals(rows, right, weight, cost, divergence)


def _square(mean: Array, block: Block, scratch: Array) -> float:
    """Return the squared norm of a block's gradient over the existing connections."""
    if block.connections is None:
        return float(np.dot(mean, mean))
    return square_of_kept(mean, block.connections, scratch[1])


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """Return the thread pool that all servers of this process share."""
    return ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="distbp-update")
