"""The parameter server: holds the weights, adds up each step's shard gradients, divides once, updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from distbp.data.dataset import Array
from distbp.nn.structure import Parameters, Structure, first_bad_layer
from distbp.optim import Optimizer
from distbp.parallel.records import Divergence, Report, StepRecord
from distbp.parallel.shards import Addition, Span, additions

_BLOCK = 16_384
"""Parameters that are updated at a time: small enough that a block of every vector stays in a core's cache."""


class ParameterServer:
    """The weights and the optimizer's state, and the only code that changes them.

    There are two copies of the state. A step reads one and writes the other, and becomes true only when ``step`` is
    counted up; so a step that fails in the middle, or is found to have diverged, leaves the state before it whole.
    """

    def __init__(self, structure: Structure, optimizer: Optimizer, lr: float, state: Array, step: int = 0) -> None:
        """Start with ``state``, shape (1 + slots, parameters), which is copied, after ``step`` steps."""
        self._structure = structure
        self._optimizer = optimizer
        self._lr = lr
        self._states = np.empty((2, *state.shape), state.dtype)
        self._states[step % 2] = state
        self._weights = [structure.parameters(version[0]) for version in self._states]
        self._scratch = np.empty((2, _BLOCK), state.dtype)
        self.step = step

    @property
    def state(self) -> Array:
        """Weights and optimizer state after ``step`` steps, shape (1 + slots, parameters); valid for two steps."""
        state: Array = self._states[self.step % 2]
        return state

    @property
    def weights(self) -> Parameters:
        """The weights after ``step`` steps; valid for two steps."""
        return self._weights[self.step % 2]

    def update(self, step: int, reports: Sequence[Report], gradients: Mapping[Span, Array]) -> StepRecord:
        """Do step number ``step`` with the gradient sums of all its shards; return what is to be told about it.

        The total cost's gradient is the sum over all examples divided by their number, and this is the one place
        that divides. Nothing is changed if the record shows a divergence.

        Raises:
            ValueError: it is another step's turn, or a shard is missing.
        """
        if step != self.step:
            raise ValueError(f"step {self.step} is next, got the gradients of step {step}")
        reports = sorted(reports, key=lambda report: report.held)
        rows = sum(report.rows for report in reports)
        cost = sum(cost for report in reports for cost in report.costs) / rows
        right = sum(report.right for report in reports)
        divergence = next((report.divergence for report in reports if report.divergence is not None), None)
        if divergence is None:
            divergence = self._apply(gradients, reports[-1].held.stop, rows)
        if divergence is None:
            self.step += 1
        return StepRecord(step, rows, cost, right, divergence)

    def _apply(self, gradients: Mapping[Span, Array], shards: int, rows: int) -> Divergence | None:
        """Write the state after this step beside the one before it."""
        root = Span(0, shards)
        plan = additions(root, gradients)
        old, new = self._states[self.step % 2], self._states[(self.step + 1) % 2]
        scratch = self._reserve(2 + max((addition.out for addition in plan), default=0))
        finite = True
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, old.shape[1], _BLOCK):
                block = slice(start, min(start + _BLOCK, old.shape[1]))
                buffers = scratch[:, : block.stop - block.start]
                total = _add_up(plan, gradients, root, block, buffers)
                np.divide(total, rows, out=buffers[0])
                self._optimizer.update(old[:, block], new[:, block], buffers[0], self.step, self._lr, buffers[1])
                finite = finite and bool(np.isfinite(np.dot(new[0, block], new[0, block])))
            return None if finite else Divergence("a weight", first_bad_layer(self._structure.layers(new[0])))

    def _reserve(self, count: int) -> Array:
        if count > len(self._scratch):
            self._scratch = np.empty((count, _BLOCK), self._scratch.dtype)
        return self._scratch


def _add_up(
    plan: Sequence[Addition], gradients: Mapping[Span, Array], root: Span, block: slice, buffers: Array
) -> Array:
    """Return one block of the sum over all shards, in the tree's order."""
    if not plan:
        only: Array = gradients[root][block]
        return only
    for out, left, right in plan:
        np.add(
            buffers[left] if isinstance(left, int) else gradients[left][block],
            buffers[right] if isinstance(right, int) else gradients[right][block],
            out=buffers[out],
        )
    total: Array = buffers[0]
    return total
