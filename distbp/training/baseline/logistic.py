"""Linear model for classification: multinomial logistic regression."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from distbp.data.dataset import Array
from distbp.training.baseline.sample import Sample

_RIDGE = 1.0
"""L2 penalty: half of it times the sum of squared coefficients is added to the total cost, as scikit-learn's C = 1."""
_TOLERANCE = 1e-4
"""Largest partial derivative of the mean cost at convergence, as in scikit-learn."""
_LEAST_EVALUATIONS, _MOST_EVALUATIONS = 20, 200
_MOST_WORK = 2e11
"""Floating-point operations after which the fit stops, once it has had its least number of evaluations."""
_PAIRS, _MOST_REMEMBERED = 10, 1 << 24
_SUFFICIENT_DECREASE = 1e-4
"""Sufficient decrease in the line search, as a share of the decrease predicted by the gradient (Armijo)."""
_NOISE = 1e-6
"""Rounding error of the cost in single precision, as a share of it."""


class Fitted(NamedTuple):
    """A fitted model, and whether the fit converged."""

    coefficients: Array
    """Coefficients of the scaled inputs, shape (inputs, classes)."""
    constant: Array
    evaluations: int
    has_converged: bool


class _Cost:
    """Weighted cost and gradient over all rows; the last row of the parameters, the constant, is not penalised."""

    def __init__(self, sample: Sample, classes: int, dtype: str) -> None:
        self._x = np.concatenate([sample.scale(x).astype(dtype) for x, _, _ in sample.blocks])
        self._targets = np.arange(sample.rows) * classes + sample.y
        self._weights = sample.weights
        self._single = self._weights.astype(dtype)[:, None]

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        """Return the penalised sum of the examples' costs, and its gradient."""
        w = parameters[:-1]
        z = self._x @ w.astype(self._x.dtype)
        z += parameters[-1].astype(z.dtype)
        z -= z.max(axis=1, keepdims=True)
        of_targets = z.reshape(-1).take(self._targets).astype(np.float64)
        np.exp(z, out=z)
        total = z.sum(axis=1, keepdims=True)
        cost = self._weights @ (np.log(total[:, 0], dtype=np.float64) - of_targets)
        z /= total
        z.reshape(-1)[self._targets] -= 1
        z *= self._single
        gradient = np.vstack([self._x.T @ z, z.sum(axis=0, dtype=np.float64)])
        gradient[:-1] += _RIDGE * w
        return float(cost) + _RIDGE / 2 * float(np.vdot(w, w)), gradient


class _Point:
    """Parameters with their cost and gradient."""

    def __init__(self, at: Array, cost_of: _Cost) -> None:
        self.at = at
        self.cost, self.gradient = cost_of(at)

    @property
    def is_finite(self) -> bool:
        """Whether cost and gradient are finite."""
        return bool(np.isfinite(self.cost) and np.isfinite(self.gradient).all())


def logistic(sample: Sample, classes: int, dtype: str) -> Fitted:
    """Return the coefficients of maximum likelihood, by L-BFGS (Nocedal and Wright 2006, algorithm 7.5).

    The initial Hessian is the fixed bound by Böhning ("Multinomial logistic regression algorithm", 1992). The fit ends
    when no partial derivative of the mean cost is above a tolerance, or after a bounded amount of work.

    Raises:
        LinAlgError: numbers overflow.
    """
    cost_of, apply_inverse = _Cost(sample, classes, dtype), _inverse_bound(sample)
    size = (sample.inputs + 1) * classes
    most = int(np.clip(_MOST_WORK // (4 * sample.rows * size), _LEAST_EVALUATIONS, _MOST_EVALUATIONS))
    point = _Point(np.zeros((sample.inputs + 1, classes)), cost_of)
    evaluations, pairs = 1, list[tuple[Array, Array]]()
    while point.is_finite and np.abs(point.gradient).max() > _TOLERANCE * sample.rows:
        step, share = _direction(point.gradient, pairs, apply_inverse), 1.0
        predicted = float(np.vdot(point.gradient, step))
        while True:
            if evaluations == most:
                return Fitted(point.at[:-1], point.at[-1], evaluations, False)
            candidate = _Point(point.at - share * step, cost_of)
            evaluations += 1
            if candidate.cost <= point.cost - _SUFFICIENT_DECREASE * share * predicted + _NOISE * abs(point.cost):
                break
            share /= 2
        moved, change = candidate.at - point.at, candidate.gradient - point.gradient
        if np.vdot(moved, change) > 0:
            pairs = [*pairs, (moved, change)][-max(1, min(_PAIRS, _MOST_REMEMBERED // size)) :]
        point = candidate
    if not point.is_finite:
        raise np.linalg.LinAlgError("the cost is not finite")
    return Fitted(point.at[:-1], point.at[-1], evaluations, True)


def _direction(gradient: Array, pairs: list[tuple[Array, Array]], apply_inverse: Callable[[Array], Array]) -> Array:
    """Return the gradient times the inverse Hessian, estimated from ``pairs`` of steps and changes of gradient."""
    step, shares = gradient.copy(), []
    for moved, change in reversed(pairs):
        shares.append(np.vdot(moved, step) / np.vdot(moved, change))
        step -= shares[-1] * change
    step = apply_inverse(step)
    if pairs:
        moved, change = pairs[-1]
        step *= np.vdot(moved, change) / np.vdot(change, apply_inverse(change))
    for (moved, change), share in zip(pairs, reversed(shares), strict=True):
        step += moved * (share - np.vdot(change, step) / np.vdot(moved, change))
    return step


def _inverse_bound(sample: Sample) -> Callable[[Array], Array]:
    """Return a function that multiplies by the inverse of X'WX / 2 + ridge, and the constant's row by 2 / rows.

    With more inputs than rows it uses the smaller matrix, by Woodbury's identity.
    """
    if sample.inputs <= sample.rows:
        inverse = np.linalg.inv(sample.gram() / 2 + _RIDGE * np.eye(sample.inputs))
        return lambda gradient: np.vstack([inverse @ gradient[:-1], gradient[-1:] * 2 / sample.rows])
    x = sample.weighted_inputs()
    inner = np.linalg.inv(x @ x.T + 2 * _RIDGE * np.eye(sample.rows))

    def apply_inverse(gradient: Array) -> Array:
        own = (gradient[:-1] - x.T @ (inner @ (x @ gradient[:-1]))) / _RIDGE
        return np.vstack([own, gradient[-1:] * 2 / sample.rows])

    return apply_inverse
