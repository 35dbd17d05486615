"""The linear model of classes: multinomial logistic regression."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from distbp.data.dataset import Array
from distbp.training.baseline.sample import Sample

_RIDGE = 1.0
"""Half of it times the coefficients' squares is added to the sum of the examples' costs, as scikit-learn's C = 1."""
_TOLERANCE = 1e-4
"""The largest slope of the mean cost at which the descent is done, as scikit-learn's."""
_LEAST_EVALUATIONS, _MOST_EVALUATIONS = 20, 200
_MOST_WORK = 2e11
"""Multiplications and additions after which it ends in any case, but for the least evaluations."""
_PAIRS, _MOST_REMEMBERED = 10, 1 << 24
_ENOUGH = 1e-4
"""Share of the decrease that the slope promises which is enough (Armijo)."""
_NOISE = 1e-6
"""Share of the cost that is rounding in single precision."""


class Fitted(NamedTuple):
    """A linear model of classes."""

    coefficients: Array
    """For scaled inputs, shape (inputs, classes)."""
    constant: Array
    evaluations: int
    has_converged: bool


class _Cost:
    """Weighted cost and slope of all rows; the last row of the parameters is the constant, which is not penalised."""

    def __init__(self, sample: Sample, classes: int, dtype: str) -> None:
        self._x = np.concatenate([sample.scale(x).astype(dtype) for x, _, _ in sample.blocks])
        self._aims = np.arange(sample.rows) * classes + sample.y
        self._weights = sample.weights
        self._single = self._weights.astype(dtype)[:, None]

    def __call__(self, parameters: Array) -> tuple[float, Array]:
        """Return the sum of the examples' costs with the ridge, and its slope."""
        w = parameters[:-1]
        z = self._x @ w.astype(self._x.dtype)
        z += parameters[-1].astype(z.dtype)
        z -= z.max(axis=1, keepdims=True)
        aimed = z.reshape(-1).take(self._aims).astype(np.float64)
        np.exp(z, out=z)
        total = z.sum(axis=1, keepdims=True)
        cost = self._weights @ (np.log(total[:, 0], dtype=np.float64) - aimed)
        z /= total
        z.reshape(-1)[self._aims] -= 1
        z *= self._single
        slope = np.vstack([self._x.T @ z, z.sum(axis=0, dtype=np.float64)])
        slope[:-1] += _RIDGE * w
        return float(cost) + _RIDGE / 2 * float(np.vdot(w, w)), slope


class _Point:
    """Parameters with their cost and slope."""

    def __init__(self, at: Array, cost_of: _Cost) -> None:
        self.at = at
        self.cost, self.slope = cost_of(at)

    @property
    def is_finite(self) -> bool:
        """Whether cost and slope are finite numbers."""
        return bool(np.isfinite(self.cost) and np.isfinite(self.slope).all())


def logistic(sample: Sample, classes: int, dtype: str) -> Fitted:
    """Return the coefficients of greatest likelihood, by L-BFGS (Nocedal and Wright 2006, algorithm 7.5).

    The descent begins from the fixed bound of the Hessian by Böhning ("Multinomial logistic regression algorithm",
    1992) and ends when no slope of the mean cost is above a tolerance, or after a bounded amount of work.

    Raises:
        LinAlgError: the numbers are too large.
    """
    cost_of, towards = _Cost(sample, classes, dtype), _bound(sample)
    size = (sample.inputs + 1) * classes
    most = int(np.clip(_MOST_WORK // (4 * sample.rows * size), _LEAST_EVALUATIONS, _MOST_EVALUATIONS))
    here = _Point(np.zeros((sample.inputs + 1, classes)), cost_of)
    evaluations, pairs = 1, list[tuple[Array, Array]]()
    while here.is_finite and np.abs(here.slope).max() > _TOLERANCE * sample.rows:
        step, share = _direction(here.slope, pairs, towards), 1.0
        promised = float(np.vdot(here.slope, step))
        while True:
            if evaluations == most:
                return Fitted(here.at[:-1], here.at[-1], evaluations, False)
            there = _Point(here.at - share * step, cost_of)
            evaluations += 1
            if there.cost <= here.cost - _ENOUGH * share * promised + _NOISE * abs(here.cost):
                break
            share /= 2
        moved, change = there.at - here.at, there.slope - here.slope
        if np.vdot(moved, change) > 0:
            pairs = [*pairs, (moved, change)][-max(1, min(_PAIRS, _MOST_REMEMBERED // size)) :]
        here = there
    if not here.is_finite:
        raise np.linalg.LinAlgError("the cost is not finite")
    return Fitted(here.at[:-1], here.at[-1], evaluations, True)


def _direction(slope: Array, pairs: list[tuple[Array, Array]], towards: Callable[[Array], Array]) -> Array:
    """Return the slope times the inverse Hessian that the last steps and changes of slope tell of."""
    step, shares = slope.copy(), []
    for moved, change in reversed(pairs):
        shares.append(np.vdot(moved, step) / np.vdot(moved, change))
        step -= shares[-1] * change
    step = towards(step)
    if pairs:
        moved, change = pairs[-1]
        step *= np.vdot(moved, change) / np.vdot(change, towards(change))
    for (moved, change), share in zip(pairs, reversed(shares), strict=True):
        step += moved * (share - np.vdot(change, step) / np.vdot(moved, change))
    return step


def _bound(sample: Sample) -> Callable[[Array], Array]:
    """Return what multiplies by the inverse of X'WX / 2 + ridge, and for the constant by that of rows / 2.

    With more inputs than rows it uses the smaller matrix, by Woodbury's identity.
    """
    if sample.inputs <= sample.rows:
        inverse = np.linalg.inv(sample.gram() / 2 + _RIDGE * np.eye(sample.inputs))
        return lambda slope: np.vstack([inverse @ slope[:-1], slope[-1:] * 2 / sample.rows])
    x = sample.rooted()
    inner = np.linalg.inv(x @ x.T + 2 * _RIDGE * np.eye(sample.rows))

    def towards(slope: Array) -> Array:
        own = (slope[:-1] - x.T @ (inner @ (x @ slope[:-1]))) / _RIDGE
        return np.vstack([own, slope[-1:] * 2 / sample.rows])

    return towards
