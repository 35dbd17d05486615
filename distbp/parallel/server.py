"""The parameter server: holds the weights, adds up each step's shard gradients, divides once, updates."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from distbp.data.dataset import Array
from distbp.nn.structure import Parameters, Structure, first_bad_layer
from distbp.optim import Optimizer
from distbp.parallel.arithmetic import cpu_count
from distbp.parallel.digest import hashes, words_of
from distbp.parallel.records import Divergence, Report, StepRecord
from distbp.parallel.shards import Addition, Span, additions, cut

_BLOCK = 65_536
"""Parameters that are updated at a time: a block of every vector should stay in cache, yet each call be worth it."""

_MOST_THREADS = 4
"""Memory's speed, not arithmetic, bounds an update; more threads gain nothing."""

_PARAMETERS_PER_THREAD = 131_072
"""Below that, waking a thread takes longer than what it would save."""


class ParameterServer:
    """The weights and the optimizer's state, and the only code that changes them.

    There are two copies of the state. A step reads one and writes the other, and becomes true only when ``step`` is
    counted up; so a step that fails in the middle, or is found to have diverged, leaves the state before it whole.
    """

    def __init__(self, structure: Structure, optimizer: Optimizer, lr: float, states: Array, step: int = 0) -> None:
        """Go on after ``step`` steps in ``states``, shape (2, 1 + slots, parameters), with the state in step % 2."""
        self._structure = structure
        self._optimizer = optimizer
        self._lr = lr
        self._states = states
        self._weights = [structure.parameters(version[0]) for version in states]
        self._words = [words_of(structure, version[0]) for version in states]
        self._parts = [
            [_Block(slice(*block), states[:, :, slice(*block)]) for block in part] for part in _parts(states.shape[2])
        ]
        self._scratch: list[Array] = []
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

    def update(
        self, step: int, reports: Sequence[Report], gradients: Mapping[Span, Array], began: float | None = None
    ) -> StepRecord:
        """Do step number ``step`` with the gradient sums of all its shards; return what is to be told about it.

        The total cost's gradient is the sum over all examples divided by their number, and this is the one place
        that divides. Nothing is changed if the record shows a divergence. ``began`` is the ``time.perf_counter()``
        of the step's begin.

        Raises:
            ValueError: it is another step's turn, or a shard is missing.
        """
        if step != self.step:
            raise ValueError(f"step {self.step} is next, got the gradients of step {step}")
        if len(reports) > 1:
            reports = sorted(reports, key=lambda report: report.held)
        rows = sum([report.rows for report in reports])
        cost = sum([cost for report in reports for cost in report.costs]) / rows
        right = sum([report.right for report in reports])
        divergence = next((report.divergence for report in reports if report.divergence is not None), None)
        if divergence is None:
            divergence = self._apply(gradients, reports[-1].held.stop, rows)
        layers: tuple[int, ...] = ()
        if divergence is None:
            self.step += 1
            layers = hashes(self._words[self.step % 2])
        return StepRecord(step, rows, cost, right, time.perf_counter() - began if began else 0.0, divergence, layers)

    def _apply(self, gradients: Mapping[Span, Array], shards: int, rows: int) -> Divergence | None:
        """Write the state after this step beside the one before it."""
        root = Span(0, shards)
        plan = _plan(root, tuple(gradients))
        buffers = 2 + max([addition.out for addition in plan], default=0)
        if not self._scratch or len(self._scratch[0]) < buffers:
            self._scratch = [np.empty((buffers, _BLOCK), self._states.dtype) for _ in self._parts]

        def update(part: list[_Block], scratch: Array) -> bool:
            # NumPy's error state belongs to a thread
            with np.errstate(over="ignore", invalid="ignore"):
                return all(self._update(block, plan, gradients, root, rows, scratch) for block in part)

        if len(self._parts) == 1:
            finite = update(self._parts[0], self._scratch[0])
        else:
            finite = all(list(_threads().map(update, self._parts, self._scratch)))
        if finite:
            return None
        return Divergence("a weight", first_bad_layer(self._weights[(self.step + 1) % 2].layers))

    def _update(
        self,
        block: _Block,
        plan: Sequence[Addition],
        gradients: Mapping[Span, Array],
        root: Span,
        rows: int,
        scratch: Array,
    ) -> bool:
        """Add up, divide and update the parameters of one block; return whether they are finite."""
        old, new = block.states[self.step % 2], block.states[(self.step + 1) % 2]
        buffers = scratch[:, : block.place.stop - block.place.start]
        mean, spare = buffers[0], buffers[1]
        np.divide(_add_up(plan, gradients, root, block.place, buffers), rows, out=mean)
        self._optimizer.update(old, new, mean, self.step, self._lr, spare)
        return math.isfinite(np.dot(new[0], new[0]))


class _Block(NamedTuple):
    """Some neighbouring parameters and both versions of their state."""

    place: slice
    states: Array


def _parts(parameters: int) -> list[list[Span]]:
    """Cut the parameters into blocks, and those into a part per thread: nobody else computes while the server does."""
    threads = max(1, min(cpu_count(), _MOST_THREADS, parameters // _PARAMETERS_PER_THREAD))
    blocks = cut(parameters, -(-parameters // _BLOCK))
    return [blocks[first:stop] for first, stop in cut(len(blocks), threads)]


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """Return the threads that all servers of this process share."""
    return ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="distbp-update")


@lru_cache(maxsize=64)
def _plan(root: Span, held: tuple[Span, ...]) -> tuple[Addition, ...]:
    return tuple(additions(root, held))


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
