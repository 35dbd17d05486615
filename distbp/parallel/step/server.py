"""The parameter server: holds the weights, adds up each step's shard gradients, divides once, updates."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

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
"""Memory's speed, not arithmetic, bounds an update; more threads gain nothing."""


class ParameterServer:
    """The weights and the optimizer's state, and the only code that changes them.

    There are two copies of the state. A step reads one and writes the other, and becomes true only when ``step`` is
    counted up; so a step that fails in the middle, or is found to have diverged, leaves the state before it whole.
    """

    def __init__(self, structure: Structure, rule: Rule, states: Array, step: int = 0) -> None:
        """Go on after ``step`` steps in ``states``, shape (2, 1 + slots, parameters), with the state in step % 2."""
        self._structure = structure
        self._rule = rule
        self._states = states
        self._weights = [structure.parameters(version[0]) for version in states]
        self._words = [words_of(structure, version[0]) for version in states]
        self._parts = blocks_of(structure, states, _MOST_THREADS)
        self._scratch: list[Array] = []
        self._mean: Parameters | None = None
        self._early: EarlyUpdates | None = None
        self._begun = False
        self._each_counts_once = True
        """Whether the divisor was the number of rows so far, so that it is known before the reports are."""
        self.step = step
        self.factor = 1.0
        """What the step size is multiplied by beside the schedule; the driver's, who knows the epochs' costs."""

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
        """Return the hashes of the weights after ``step`` steps (see distbp.parallel.step.layer_hashes)."""
        return hashes(self._words[self.step % 2])

    def begin_early(self, rows: int, diagnose: bool) -> Callable[[slice, Array], None] | None:
        """Begin a step of so many rows whose totals come part by part; return what takes each, from any thread.

        None if the update has to wait for the whole. :meth:`update` is called in any case.
        """
        self._begun = not diagnose and self._rule.clip_norm is None and self._each_counts_once
        if not self._begun:
            return None
        if self._early is None:
            self._early = EarlyUpdates(self._structure, self._states, self._finish_early)
        self._early.begin(float(rows))
        return self._early.apply

    def _finish_early(self, block: Block, total: Array, divisor: float, scratch: Array) -> bool:
        root = Span(0, 1)
        buffers = scratch[:, : block.params.stop - block.params.start]
        mean = self._mean_of(block, (), {root: total}, root, divisor, buffers)
        return self._finish(block, self._regularise(block, mean, buffers), buffers, 1.0)

    def update(
        self,
        step: int,
        reports: Sequence[Report],
        gradients: Mapping[Span, Array],
        began: float | None = None,
        diagnose: bool = False,
    ) -> StepRecord:
        """Do step number ``step`` with the gradient sums of all its shards; return what is to be told about it.

        The total cost's gradient is the sum over all examples divided by their weight (their number, where each counts
        once), and this is the one place that divides. Nothing is changed if the record shows a divergence. ``began``
        is the ``time.perf_counter()`` of the step's begin; ``diagnose`` asks for norms in the record.

        Raises:
            ValueError: it is another step's turn, or a shard is missing.
        """
        if step != self.step:
            raise ValueError(f"step {self.step} is next, got the gradients of step {step}")
        reports = sorted(reports, key=lambda report: report.span)
        rows, right, weight, cost, divergence = 0, 0, 0.0, 0.0, None
        for report in reports:
            rows += report.rows
            right += report.right
            for shard_weight, shard_cost in zip(report.weights, report.costs, strict=True):
                weight += shard_weight  # shard by shard, so that the order is the same whoever computed them
                cost += shard_cost
            divergence = divergence or report.divergence
        divisor = weight or 1.0  # where no example counts, nothing is learnt
        cost /= divisor
        diagnosis = None
        is_finite = self._early.outcome(divisor) if self._begun and self._early is not None else None
        self._begun = False
        self._each_counts_once = self._each_counts_once and divisor == rows
        if divergence is None and is_finite is not None:
            divergence = self._ended(is_finite)
        elif divergence is None:
            root = Span(0, reports[-1].span.stop)
            if diagnose or self._rule.clip_norm is not None:
                divergence, diagnosis = self._apply_in_two(gradients, root, divisor, reports if diagnose else ())
            else:
                divergence = self._apply(gradients, root, divisor)
        layers: tuple[int, ...] = ()
        if divergence is None:
            self.step += 1
            layers = self.layers()
        seconds = time.perf_counter() - began if began else 0.0
        return StepRecord(step, rows, cost, right, seconds, divergence, layers, weight, diagnosis)

    def _apply(self, gradients: Mapping[Span, Array], root: Span, divisor: float) -> Divergence | None:
        """Write the state after this step beside the one before it, block by block while it is in cache."""
        plan = self._plan(root, gradients)

        def finish(block: Block, scratch: Array) -> bool:
            mean = self._mean_of(block, plan, gradients, root, divisor, scratch)
            return self._finish(block, self._regularise(block, mean, scratch), scratch, 1.0)

        def update(part: list[Block], scratch: Array) -> bool:
            return all(finish(block, scratch) for block in part)

        return self._ended(all(self._each_part(update)))

    def _apply_in_two(
        self, gradients: Mapping[Span, Array], root: Span, divisor: float, reports: Sequence[Report]
    ) -> tuple[Divergence | None, Diagnosis | None]:
        """Do the same with the whole mean gradient in between, whose length is asked for."""
        plan = self._plan(root, gradients)
        if self._mean is None:
            self._mean = self._structure.parameters(np.empty(self._states.shape[2], self._states.dtype))
        mean = self._mean.flat

        def average(part: list[Block], scratch: Array) -> list[tuple[float, float]]:
            squares = []
            for block in part:
                place = mean[block.params]
                self._mean_of(block, plan, gradients, root, divisor, scratch, place)
                of_data = _square(place, block, scratch) if reports else 0.0
                self._regularise(block, place, scratch)
                squares.append((of_data, float(np.dot(place, place))))
            return squares

        parts = self._each_part(average)
        square_of_data, square = (sum([each[i] for part in parts for each in part]) for i in range(2))
        scale, clip = 1.0, self._rule.clip_norm
        if clip is not None and math.sqrt(square) > clip:
            scale = clip / math.sqrt(square)
        norms = layer_norms(self._mean.layers) if reports else ()

        def finish(part: list[Block], scratch: Array) -> bool:
            return all(self._finish(block, mean[block.params], scratch, scale) for block in part)

        divergence = self._ended(all(self._each_part(finish)))
        if divergence is not None or not reports:
            return divergence, None
        old, new = self._states[self.step % 2][0], self._states[(self.step + 1) % 2][0]
        np.subtract(new, old, out=mean)
        changes, weights = layer_norms(self._mean.layers), layer_norms(self._weights[self.step % 2].layers)
        return None, Diagnosis(norms, changes, weights, *noise(reports, square_of_data))

    def _each_part(self, work: Callable[[list[Block], Array], _Outcome]) -> list[_Outcome]:
        """Do something with every part of the blocks, on a thread each."""

        def quietly(part: list[Block], scratch: Array) -> _Outcome:
            # NumPy's error state belongs to a thread
            with np.errstate(over="ignore", invalid="ignore"):
                return work(part, scratch)

        if len(self._parts) == 1:
            return [quietly(self._parts[0], self._scratch[0])]
        return list(_threads().map(quietly, self._parts, self._scratch))

    def _plan(self, root: Span, gradients: Mapping[Span, Array]) -> Sequence[Addition]:
        """Return the additions that are to be done, with room for what is between them."""
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
        """Return one block of the total cost's gradient, in ``out`` or in the scratch's first row."""
        buffers = scratch[:, : block.params.stop - block.params.start]
        mean: Array = buffers[0] if out is None else out
        np.divide(add_up(plan, gradients, root, block.params, buffers), divisor, out=mean)
        return mean

    def _regularise(self, block: Block, mean: Array, scratch: Array) -> Array:
        """Add the penalties' gradient to a block's ``mean``, leave connections out, clip it; return it."""
        rule, old = self._rule, block.states[self.step % 2][0]
        for place in block.weights if rule.l1 or rule.l2 else ():
            spare = scratch[1, : len(mean)][place]
            if rule.l2:
                np.multiply(old[place], rule.l2, out=spare)
                np.add(mean[place], spare, out=mean[place])
            if rule.l1:
                np.sign(old[place], out=spare)
                np.multiply(spare, rule.l1, out=spare)
                np.add(mean[place], spare, out=mean[place])
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

    def _ended(self, is_finite: bool) -> Divergence | None:
        """Hold the new weights to their longest, if there is one; say so if they are not finite."""
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


def _square(mean: Array, block: Block, scratch: Array) -> float:
    """Return the squared length of a block's gradient without the connections that are left out."""
    if block.connections is None:
        return float(np.dot(mean, mean))
    return square_of_kept(mean, block.connections, scratch[1])


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """Return the threads that all servers of this process share."""
    return ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="distbp-update")
