"""Diagnostics of some steps: the norms of each layer, and the gradient noise scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from distbp.nn.structure import Array, Layer
from distbp.parallel.step.records import Report

_EVERY = 32
"""Steps between two diagnoses within an epoch; a diagnosis adds up to a tenth of a step."""


def is_diagnosed(step: int, steps_per_epoch: int) -> bool:
    """Return whether a step is diagnosed: the last step of each epoch and every 32nd step before it.

    >>> [step for step in range(80) if is_diagnosed(step, 40)]
    [7, 39, 47, 79]
    """
    return (steps_per_epoch - 1 - step % steps_per_epoch) % _EVERY == 0


def layer_norms(layers: Sequence[Layer]) -> tuple[float, ...]:
    """For each layer, return the norm of its parameters, w and b together."""
    return tuple(math.sqrt(float(np.vdot(w, w)) + float(np.vdot(b, b))) for w, b in layers)


class Noise(NamedTuple):
    """Two estimates; the ratio of their means over steps is the gradient noise scale, in rows of equal weight."""

    spread: float
    """Trace of the covariance of the single examples' gradients."""
    signal: float
    """Squared norm of the true gradient."""


def square_of_kept(gradient: Array, connections: Array, scratch: Array) -> float:
    """Return the squared norm of a gradient, shape (parameters,), over the existing connections only.

    ``connections`` has the same shape, with 0 where a connection is missing, else 1. ``scratch`` may have any length.
    """
    total = 0.0
    for start in range(0, len(gradient), len(scratch)):
        part = slice(start, start + len(scratch))
        kept = np.multiply(gradient[part], connections[part], out=scratch[: len(gradient[part])])
        total += float(np.dot(kept, kept))
    return total


def noise(reports: Sequence[Report], square: float) -> Noise:
    """Compare the shards' mean gradients with the mini-batch's (McCandlish et al. 2018, appendix A.1).

    ``square`` is |G|^2 of the mini-batch's mean gradient G. All gradients are those of the examples' costs alone,
    before penalties and clipping. Example i has the weight w_i and the gradient g_i, of mean m and covariance S.
    Shard s has the weight W_s, the sum of its w_i, and the mean gradient G_s = sum w_i g_i / W_s; its share of the
    mini-batch's weight is p_s, so G = sum p_s G_s. G_s is as precise as the mean of n_s rows of equal weight:

        n_s = W_s^2 / sum w_i^2,   and then   E |G_s|^2 = |m|^2 + tr(S) / n_s   and
        sum p_s E |G_s|^2 = |m|^2 + tr(S) sum p_s / n_s,   E |G|^2 = |m|^2 + tr(S) sum p_s^2 / n_s.

    These two equations determine both unknowns: tr(S), the spread, and |m|^2, the signal. Scaling all weights by a
    constant changes neither. With equal weights and shards of n rows these are the paper's equations: n is its B_small,
    the size of the mini-batch its B_big. Both results are NaN if fewer than two shards have a positive weight.
    """
    weights = np.array([weight for report in reports for weight in report.weights])
    squares = np.array([each for report in reports for each in report.squares])
    weight_squares = np.array([each for report in reports for each in report.weight_squares])
    counts = weights > 0
    if np.count_nonzero(counts) < 2:
        return Noise(math.nan, math.nan)
    weights, squares, weight_squares = weights[counts], squares[counts], weight_squares[counts]
    share, inverse_rows = weights / weights.sum(), weight_squares / weights**2
    small = float(share @ (squares / weights**2))
    spread = (small - square) / float(share * (1 - share) @ inverse_rows)
    return Noise(spread, square - spread * float(share**2 @ inverse_rows))
