"""Costs C(x) of single examples, and the base case of backpropagation: delta^L = dC/dz^L.

A cost is a function of the output layer's activation a^L alone, and the total cost is the mean of the examples'
costs (the lecture's two assumptions). Gradients are SUMS over the rows: the parameter server divides once, after it
has added up all shards.

Targets y are either class numbers, shape (rows,), or values, shape (rows, m_L). Class k stands for its
one-hot vector, which is never built; with a single output node it stands for the value k itself, 0 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from distbp.nn.activations import Activation
from distbp.nn.custom import CustomCost

Array = NDArray[Any]


class RowCosts(NamedTuple):
    """Costs of some rows, and how many are classified correctly."""

    costs: Array
    """C of each row, shape (rows,)."""
    right: int
    """Number of correctly classified rows; 0 for regression targets."""


class Cost(Protocol):
    """A cost and its delta^L on arrays of shape (rows, m_L)."""

    @property
    def output(self) -> str | None:
        """The output activation that the cost is fused with; None if it works with any."""

    def base_case(
        self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array, smoothing: float = 0.0
    ) -> RowCosts:
        """Write delta^L into ``delta``, one row per example, from z^L; return the rows' costs.

        ``a`` and ``scratch`` may be overwritten; z and y are not changed. Label smoothing by s =
        ``smoothing`` replaces the target y by (1 - s) y + s/K for cross-entropy over K classes (Szegedy et al. 2016,
        section 7) and by (1 - s) y + s/2 at each node for binary cross-entropy. Other costs ignore it.
        """


class MeanSquaredError:
    """The lecture's sum of squares: C = sum_k (y_k - a_k)^2 over the output nodes, dC/da_k = 2 (a_k - y_k)."""

    output = None

    def base_case(
        self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array, smoothing: float = 0.0
    ) -> RowCosts:
        """Write 2 (a - y) sigma'(z), the lecture's base case."""
        activation.apply(z, out=a)
        right = count_right(activation, z, a, y)
        np.copyto(delta, a)
        _subtract_target(delta, y)
        costs = np.einsum("rk,rk->r", delta, delta, dtype=np.float64)
        np.multiply(delta, 2.0, out=delta)
        activation.times_derivative(delta, a, z, scratch)
        return RowCosts(costs, right)


class CrossEntropy:
    """C = -sum_k y_k log a_k with a the softmax of z, so that delta^L = a - y for targets that add up to 1.

    The cost is computed from z as log sum_i e^{z_i} - z_y, which stays finite where a itself has become 0.
    """

    output = "softmax"

    def base_case(
        self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array, smoothing: float = 0.0
    ) -> RowCosts:
        """Write a - y. The softmax is computed here once, for both a and the cost."""
        row_starts = _row_starts(*z.shape)
        best = z.argmax(axis=1)
        np.subtract(z, z.reshape(-1).take(row_starts + best)[:, np.newaxis], out=delta)
        flat = delta.reshape(-1)
        aim = row_starts + y if y.ndim == 1 else None
        if aim is not None:
            aimed, right = flat.take(aim), int(np.count_nonzero(best == y))
        else:
            aimed, right = np.einsum("rk,rk->r", delta, y, dtype=np.float64), 0
        if smoothing:
            aimed = (1.0 - smoothing) * aimed + smoothing * delta.mean(axis=1, dtype=np.float64)
        np.exp(delta, out=delta)
        total = np.add.reduce(delta, axis=1)
        np.divide(delta, total[:, np.newaxis], out=delta)
        if aim is not None:
            flat[aim] = flat.take(aim) - (1.0 - smoothing)
        else:
            np.subtract(delta, y, out=delta)
        if smoothing:
            np.subtract(delta, smoothing / delta.shape[1], out=delta)
        return RowCosts(np.log(total) - aimed, right)


class BinaryCrossEntropy:
    """C = -sum_k (y_k log a_k + (1 - y_k) log(1 - a_k)) with a the sigmoid of z, so that delta^L = a - y.

    The cost is computed from z as max(z, 0) - z y + log(1 + e^-|z|), which stays finite where a has become 0 or 1.
    """

    output = "sigmoid"

    def base_case(
        self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array, smoothing: float = 0.0
    ) -> RowCosts:
        """Write a - y. A single node predicts the second of two classes where a > 1/2."""
        activation.apply(z, out=delta)
        right = count_right(activation, z, delta, y)
        _subtract_target(delta, y, 1.0 - smoothing)
        aimed = (1.0 - smoothing) * _dot_target(z, y)
        if smoothing:
            np.subtract(delta, smoothing / 2, out=delta)
            aimed = aimed + smoothing / 2 * z.sum(axis=1, dtype=np.float64)
        np.abs(z, out=scratch)
        np.negative(scratch, out=scratch)
        np.exp(scratch, out=scratch)
        np.log1p(scratch, out=scratch)
        above = np.maximum(z, 0.0, out=a).sum(axis=1, dtype=np.float64)
        return RowCosts(scratch.sum(axis=1, dtype=np.float64) + above - aimed, right)


class MeanAbsoluteError:
    """C = sum_k |a_k - y_k| (a :class:`distbp.nn.custom.CustomCost`)."""

    def value(self, a: Array, y: Array) -> Array:
        """Return the sum of the absolute differences."""
        costs: Array = np.abs(a - y).sum(axis=1, dtype=np.float64)
        return costs

    def derivative(self, a: Array, y: Array) -> Array:
        """Return the signs of the differences, 0 at 0."""
        signs: Array = np.sign(a - y)
        return signs


class Huber:
    """C = sum_k h(a_k - y_k) with h(d) = d^2/2 up to |d| = 1 and |d| - 1/2 beyond (Huber 1964)."""

    def value(self, a: Array, y: Array) -> Array:
        """Return the sum of h over the nodes."""
        size = np.abs(a - y)
        near = np.minimum(size, 1.0)
        costs: Array = (near * near / 2 + (size - near)).sum(axis=1, dtype=np.float64)
        return costs

    def derivative(self, a: Array, y: Array) -> Array:
        """Return a - y, clipped to -1..1."""
        slope: Array = np.clip(a - y, -1.0, 1.0)
        return slope


class Poisson:
    """C = sum_k (a_k - y_k log a_k): the negative log-likelihood of counts y with mean a, up to a constant."""

    _LEAST = 1e-30
    """Lower bound of the outputs, which should be above 0."""

    def value(self, a: Array, y: Array) -> Array:
        """Return the sum of a - y log a."""
        positive = np.maximum(a, self._LEAST)
        costs: Array = (positive - y * np.log(positive)).sum(axis=1, dtype=np.float64)
        return costs

    def derivative(self, a: Array, y: Array) -> Array:
        """Return 1 - y/a."""
        slope: Array = 1.0 - y / np.maximum(a, self._LEAST)
        return slope


class CostAdapter:
    """Adapts a :class:`CustomCost`, a function of a and y alone, to :class:`Cost`."""

    def __init__(self, part: CustomCost, output: str | None = None) -> None:
        self._part = part
        self.output = output

    def base_case(
        self, activation: Activation, z: Array, a: Array, y: Array, delta: Array, scratch: Array, smoothing: float = 0.0
    ) -> RowCosts:
        """Write dC/da sigma'(z)."""
        activation.apply(z, out=a)
        right = count_right(activation, z, a, y)
        target = y
        if y.ndim == 1:
            target = np.zeros_like(a)
            _subtract_target(target, y, -1.0)
        np.copyto(delta, self._part.derivative(a, target), casting="same_kind")
        costs = np.asarray(self._part.value(a, target), np.float64)
        activation.times_derivative(delta, a, z, scratch)
        return RowCosts(costs, right)


def chosen_classes(activation: Activation, z: Array, a: Array) -> Array:
    """Return the predicted class of each row: the node with the largest a^L.

    Equal a, such as 0 after relu or 1 after sigmoid, are ranked by z^L, then by node number. A single node stands for
    two classes and predicts the second one where a > 1/2.
    """
    if z.shape[1] == 1:
        second: Array = (a[:, 0] > 0.5).astype(np.intp)
        return second
    ranked = z if activation.is_monotonic else np.where(a == a.max(axis=1, keepdims=True), z, -np.inf)
    chosen: Array = ranked.argmax(axis=1)
    return chosen


def count_right(activation: Activation, z: Array, a: Array, y: Array) -> int:
    """Count the correctly classified rows; 0 for regression targets."""
    return int(np.count_nonzero(chosen_classes(activation, z, a) == y)) if y.ndim == 1 else 0


def _subtract_target(values: Array, y: Array, times: float = 1.0) -> None:
    """Subtract ``times`` the target vectors from ``values`` in place."""
    if y.ndim > 1:
        np.subtract(values, y if times == 1.0 else times * y, out=values)
    elif values.shape[1] == 1:
        np.subtract(values[:, 0], y if times == 1.0 else times * y, out=values[:, 0], casting="unsafe")
    else:
        values.reshape(-1)[_row_starts(*values.shape) + y] -= times


def _dot_target(values: Array, y: Array) -> Array:
    """Return the dot product of each row with its target vector."""
    products: Array
    if y.ndim > 1:
        products = np.einsum("rk,rk->r", values, y, dtype=np.float64)
    elif values.shape[1] == 1:
        products = values[:, 0].astype(np.float64) * y
    else:
        products = values.reshape(-1)[_row_starts(*values.shape) + y].astype(np.float64)
    return products


@lru_cache(maxsize=64)
def _row_starts(rows: int, nodes: int) -> Array:
    """Return the index of each row's first element in a flattened array of shape (rows, nodes)."""
    return np.arange(0, rows * nodes, nodes)


COSTS: Mapping[str, Cost] = {
    "mse": MeanSquaredError(),
    "cross-entropy": CrossEntropy(),
    "binary-cross-entropy": BinaryCrossEntropy(),
    "mae": CostAdapter(MeanAbsoluteError()),
    "huber": CostAdapter(Huber()),
    "poisson": CostAdapter(Poisson(), "softplus"),
}
"""Costs by name."""


def cost_of(part: Any) -> Cost:
    """Return the cost with this name, or an adapter for a custom one."""
    return COSTS[part] if isinstance(part, str) else CostAdapter(part)
