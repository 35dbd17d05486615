"""Costs C(x) of single examples, and the base case of backpropagation: delta^L = dC/dz^L.

A cost is a function of the output layer's activation a^L alone, and the total cost is the mean of the examples'
costs (the lecture's two assumptions). What is returned here is always the SUM over the rows; the one division by
the number of examples happens where all shards have been added up.

Targets y are either class numbers, shape (rows,), or values, shape (rows, m_L). A class number k stands for the
vector that is 1 at node k and 0 elsewhere, which is never built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from distbp.nn.activations import Activation

Array = NDArray[Any]


class Cost(Protocol):
    """A cost and its delta^L on arrays of shape (rows, m_L)."""

    @property
    def output(self) -> str | None:
        """The output activation that the cost is fused with, None for any."""

    def sum(self, z: Array, a: Array, y: Array) -> float:
        """Return the sum of the rows' costs."""

    def right(self, z: Array, y: Array) -> int:
        """Count the rows whose class the network gives; 0 where the targets are values."""

    def output_delta(self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array) -> None:
        """Write delta^L into ``delta``, one row per example; none of z, a, y is changed."""


class _LargestOutput:
    """The class that an example is given is the node with the largest z."""

    def right(self, z: Array, y: Array) -> int:
        """Count the rows whose class the network gives; 0 where the targets are values."""
        return int(np.count_nonzero(z.argmax(axis=1) == y)) if y.ndim == 1 else 0


class MeanSquaredError(_LargestOutput):
    """The lecture's sum of squares: C = sum_k (y_k - a_k)^2 over the output nodes, dC/da_k = 2 (a_k - y_k)."""

    output = None

    def sum(self, z: Array, a: Array, y: Array) -> float:
        """Return the sum of squares over rows and nodes."""
        error = a.astype(np.float64)
        _subtract_target(error, y)
        return float(np.einsum("rk,rk->", error, error))

    def output_delta(self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array) -> None:
        """Write 2 (a - y) sigma'(z), the lecture's base case."""
        np.copyto(delta, a)
        _subtract_target(delta, y)
        np.multiply(delta, 2.0, out=delta)
        activation.times_derivative(delta, a, scratch)


class CrossEntropy(_LargestOutput):
    """C = -sum_k y_k log a_k with a the softmax of z, so that delta^L = a - y for targets that add up to 1.

    The cost is computed from z as log sum_i e^{z_i} - z_y, which stays finite where a itself has become 0.
    """

    output = "softmax"

    def sum(self, z: Array, a: Array, y: Array) -> float:
        """Return the sum over the rows."""
        wide = z.astype(np.float64)
        wide -= wide.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(wide).sum(axis=1))
        if y.ndim == 1:
            return float((log_sum - wide[np.arange(len(y)), y]).sum())
        return float((log_sum - np.einsum("rk,rk->r", wide, y)).sum())

    def output_delta(self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array) -> None:
        """Write a - y."""
        np.copyto(delta, a)
        _subtract_target(delta, y)


class BinaryCrossEntropy(_LargestOutput):
    """C = -sum_k (y_k log a_k + (1 - y_k) log(1 - a_k)) with a the sigmoid of z, so that delta^L = a - y.

    The cost is computed from z as max(z, 0) - z y + log(1 + e^-|z|), which stays finite where a has become 0 or 1.
    """

    output = "sigmoid"

    def sum(self, z: Array, a: Array, y: Array) -> float:
        """Return the sum over rows and nodes."""
        wide = z.astype(np.float64)
        if y.ndim == 1:
            on = wide[np.arange(len(y)), y].sum()
        else:
            on = np.einsum("rk,rk->", wide, y)
        return float((np.maximum(wide, 0.0) + np.log1p(np.exp(-np.abs(wide)))).sum() - on)

    def right(self, z: Array, y: Array) -> int:
        """Count the rows whose class the network gives; a single node gives the second of two classes when a > 1/2."""
        if z.shape[1] == 1:
            return int(np.count_nonzero((z > 0) == (y > 0.5)))
        return super().right(z, y)

    def output_delta(self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array) -> None:
        """Write a - y."""
        np.copyto(delta, a)
        _subtract_target(delta, y)


def _subtract_target(values: Array, y: Array) -> None:
    if y.ndim == 1:
        values[np.arange(len(y)), y] -= 1.0
    else:
        np.subtract(values, y, out=values)


COSTS: Mapping[str, Cost] = {
    "mse": MeanSquaredError(),
    "cross-entropy": CrossEntropy(),
    "binary-cross-entropy": BinaryCrossEntropy(),
}
"""Every cost by its name."""
