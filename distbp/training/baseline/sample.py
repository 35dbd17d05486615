"""The sample of training rows that a linear model is fitted to, and the scaling of its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from distbp.data.dataset import Array, Gather, Rows

MOST_NUMBERS = 1 << 23
"""Most inputs times rows in a sample; from more rows, the sample takes some at even distances."""
_ROWS_AT_ONCE = 1024


class Scale(NamedTuple):
    """Scaling of inputs: subtracts the mean, and divides by the standard deviation where the unit is arbitrary."""

    mean: Array
    divisor: Array
    """Divisor of each input; infinite for constant inputs, which become 0."""

    def __call__(self, x: Array) -> Array:
        """Return the scaled inputs, in double precision."""
        scaled: Array = x.astype(np.float64)
        scaled -= self.mean
        scaled /= self.divisor
        return scaled


class Sample(NamedTuple):
    """Rows with positive weight, in blocks of x, y and weights."""

    blocks: list[tuple[Array, Array, Array]]
    """Inputs of the network, targets, and weights in double precision with mean 1 over all blocks."""
    scale: Scale
    rows: int

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return len(self.scale.mean)

    @property
    def y(self) -> Array:
        """The targets of all rows."""
        return np.concatenate([y for _, y, _ in self.blocks])

    @property
    def weights(self) -> Array:
        """The weights of all rows."""
        return np.concatenate([w for _, _, w in self.blocks])

    def weighted_inputs(self) -> Array:
        """Return sqrt(W) X of the scaled inputs, shape (rows, inputs)."""
        return np.concatenate([self.scale(x) * np.sqrt(w)[:, None] for x, _, w in self.blocks])

    def gram(self) -> Array:
        """Return X' W X of the scaled inputs, shape (inputs, inputs)."""
        gram = np.zeros((self.inputs, self.inputs))
        for x, _, w in self.blocks:
            scaled = self.scale(x)
            gram += (scaled * w[:, None]).T @ scaled
        return gram


def blocks_of(rows: Rows, inputs: Array, dtype: str, chosen: Array) -> Iterator[tuple[Array, Array, Array | None]]:
    """Yield x, y and weights of the chosen rows, block by block."""
    gather = Gather(rows, min(_ROWS_AT_ONCE, len(chosen)), dtype)
    for start in range(0, len(chosen), _ROWS_AT_ONCE):
        x, y = gather(chosen[start : start + _ROWS_AT_ONCE])
        x = x.copy() if len(inputs) == x.shape[1] else x[:, inputs]
        yield x, y.copy(), None if gather.weights is None else gather.weights.astype(np.float64)


def sample_of(rows: Rows, inputs: Array, dtype: str, outputs: int) -> Sample:
    """Return the sample of the rows with positive weight; there must be at least one."""
    counting = np.arange(len(rows)) if rows.weights is None else np.flatnonzero(rows.weights)
    count = max(1, min(len(counting), MOST_NUMBERS // max(len(inputs), outputs, 1)))
    chosen = counting[((np.arange(count) + 0.5) * len(counting) / count).astype(np.intp)]
    gathered = list(blocks_of(rows, inputs, dtype, chosen))
    largest = max(1.0 if w is None else float(w.max()) for _, _, w in gathered)  # dividing by it avoids overflow
    blocks = [(x, y, np.ones(len(y)) if w is None else w / largest) for x, y, w in gathered]
    each = count / sum(float(w.sum()) for _, _, w in blocks)
    blocks = [(x, y, w * each) for x, y, w in blocks]
    return Sample(blocks, _scale(blocks, count, has_unit=rows.encoding is not None or rows.factor != 1.0), count)


def _scale(blocks: list[tuple[Array, Array, Array]], count: int, has_unit: bool) -> Scale:
    """Return the scaling of the inputs: centre all; divide by the deviation only where the unit is arbitrary.

    Pixels and the encoded columns of a table have a unit: the columns are standardised already, and dividing a rare
    category or pixel by its small deviation would give it too much weight.
    """
    mean = np.zeros(blocks[0][0].shape[1])
    for x, _, w in blocks:
        mean += (w / count) @ x
    squares = np.zeros_like(mean)
    for x, _, w in blocks:
        squares += (w / count) @ np.square(x - mean)
    deviation = np.sqrt(squares)
    varies = deviation > np.finfo(blocks[0][0].dtype).eps * np.abs(mean)
    return Scale(mean, np.where(varies, 1.0 if has_unit else deviation, np.inf))
