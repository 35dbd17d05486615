"""Costs C(x) of single examples, and the base case of backpropagation: delta^L = dC/dz^L.

A cost is a function of the output layer's activation a^L alone, and the total cost is the mean of the examples'
costs (the lecture's two assumptions). What is returned here is always the SUM over the rows; the one division by
the number of examples happens where all shards have been added up.

Targets y are either class numbers, shape (rows,), or values, shape (rows, m_L). A class number k stands for the
vector that is 1 at node k and 0 elsewhere, which is never built; with a single node, for the value k itself, 0 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from distbp.nn.activations import Activation

Array = NDArray[Any]


class Sums(NamedTuple):
    """What the rows of one call add up to."""

    cost: float
    """Sum of the rows' costs."""
    right: int
    """Rows whose class the network gives; 0 where the targets are values."""


class Cost(Protocol):
    """A cost and its delta^L on arrays of shape (rows, m_L)."""

    @property
    def output(self) -> str | None:
        """The output activation that the cost is fused with, None for any."""

    def base_case(self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array) -> Sums:
        """Write delta^L into ``delta``, one row per example, from z^L; return the rows' sums.

        ``a`` and ``scratch`` may be overwritten; z and y are not changed.
        """


class MeanSquaredError:
    """The lecture's sum of squares: C = sum_k (y_k - a_k)^2 over the output nodes, dC/da_k = 2 (a_k - y_k)."""

    output = None

    def base_case(self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array) -> Sums:
        """Write 2 (a - y) sigma'(z), the lecture's base case."""
        activation.apply(z, out=a)
        np.copyto(delta, a)
        _subtract_target(delta, y)
        right = count_right(activation, z, y)
        cost = float(np.einsum("rk,rk->", delta, delta, dtype=np.float64))
        np.multiply(delta, 2.0, out=delta)
        activation.times_derivative(delta, a, scratch)
        return Sums(cost, right)


class CrossEntropy:
    """C = -sum_k y_k log a_k with a the softmax of z, so that delta^L = a - y for targets that add up to 1.

    The cost is computed from z as log sum_i e^{z_i} - z_y, which stays finite where a itself has become 0.
    """

    output = "softmax"

    def base_case(self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array) -> Sums:
        """Write a - y; the softmax is made here, once, for a and for the cost."""
        places = _places(*z.shape)
        best = z.argmax(axis=1)
        np.subtract(z, z.reshape(-1).take(places + best)[:, np.newaxis], out=delta)
        flat = delta.reshape(-1)
        aim = places + y if y.ndim == 1 else None
        if aim is not None:
            aimed, right = flat.take(aim), int(np.count_nonzero(best == y))
        else:
            aimed, right = np.einsum("rk,rk->r", delta, y, dtype=np.float64), 0
        np.exp(delta, out=delta)
        total = np.add.reduce(delta, axis=1)
        np.divide(delta, total[:, np.newaxis], out=delta)
        if aim is not None:
            flat[aim] = flat.take(aim) - 1.0
        else:
            np.subtract(delta, y, out=delta)
        return Sums(float((np.log(total) - aimed).sum(dtype=np.float64)), right)


class BinaryCrossEntropy:
    """C = -sum_k (y_k log a_k + (1 - y_k) log(1 - a_k)) with a the sigmoid of z, so that delta^L = a - y.

    The cost is computed from z as max(z, 0) - z y + log(1 + e^-|z|), which stays finite where a has become 0 or 1.
    """

    output = "sigmoid"

    def base_case(self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array) -> Sums:
        """Write a - y. A single node gives the second of two classes when a > 1/2."""
        activation.apply(z, out=delta)
        _subtract_target(delta, y)
        np.abs(z, out=scratch)
        np.negative(scratch, out=scratch)
        np.exp(scratch, out=scratch)
        np.log1p(scratch, out=scratch)
        above = np.maximum(z, 0.0, out=a).sum(dtype=np.float64)
        cost = float(scratch.sum(dtype=np.float64) + above - _dot_target(z, y))
        return Sums(cost, count_right(activation, z, y))


def chosen_classes(activation: Activation, z: Array) -> Array:
    """Return the class number that the network gives each row: the node with the largest z^L.

    A single node stands for two classes, and gives the second one where a > 1/2.
    """
    chosen: Array = (z[:, 0] > activation.half).astype(np.intp) if z.shape[1] == 1 else z.argmax(axis=1)
    return chosen


def count_right(activation: Activation, z: Array, y: Array) -> int:
    """Count the rows whose class the network gives; 0 where the targets are values."""
    return int(np.count_nonzero(chosen_classes(activation, z) == y)) if y.ndim == 1 else 0


def _subtract_target(values: Array, y: Array) -> None:
    """Subtract the vectors that the targets stand for, in place."""
    if y.ndim > 1:
        np.subtract(values, y, out=values)
    elif values.shape[1] == 1:
        np.subtract(values[:, 0], y, out=values[:, 0], casting="unsafe")
    else:
        values.reshape(-1)[_places(*values.shape) + y] -= 1.0


def _dot_target(values: Array, y: Array) -> float:
    """Return the sum over rows and nodes of values times the vectors that the targets stand for."""
    if y.ndim > 1:
        return float(np.einsum("rk,rk->", values, y, dtype=np.float64))
    if values.shape[1] == 1:
        return float(np.dot(values[:, 0].astype(np.float64), y))
    return float(values.reshape(-1)[_places(*values.shape) + y].sum(dtype=np.float64))


@lru_cache(maxsize=64)
def _places(rows: int, nodes: int) -> Array:
    """Return where each row begins in the flat form of an array of shape (rows, nodes)."""
    return np.arange(0, rows * nodes, nodes)


COSTS: Mapping[str, Cost] = {
    "mse": MeanSquaredError(),
    "cross-entropy": CrossEntropy(),
    "binary-cross-entropy": BinaryCrossEntropy(),
}
"""Every cost by its name."""
