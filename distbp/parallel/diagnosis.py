"""What some steps tell about the health of the descent: norms of each layer, and how noisy the gradient is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from distbp.nn.structure import Layer
from distbp.parallel.records import Report

_EVERY = 32
"""Steps between two diagnoses within an epoch; a diagnosis takes up to a tenth of a step."""


def is_diagnosed(step: int, steps_per_epoch: int) -> bool:
    """Return whether a step is to be diagnosed: the last one of each epoch, and every 32nd before it.

    >>> [step for step in range(80) if is_diagnosed(step, 40)]
    [7, 39, 47, 79]
    """
    return (steps_per_epoch - 1 - step % steps_per_epoch) % _EVERY == 0


def layer_norms(layers: Sequence[Layer]) -> tuple[float, ...]:
    """Return the length of each layer's parameters, w and b together."""
    return tuple(math.sqrt(float(np.vdot(w, w)) + float(np.vdot(b, b))) for w, b in layers)


class Noise(NamedTuple):
    """Estimates whose ratio, each averaged over steps, is the gradient noise scale in examples."""

    spread: float
    """Of the trace of the covariance of single examples' gradients."""
    signal: float
    """Of the squared length of the true gradient."""


def noise(reports: Sequence[Report], squares: float) -> Noise:
    """Compare the shards' mean gradients with the mini-batch's (McCandlish et al. 2018, appendix A.1).

    With b the rows of a shard, B those of the mini-batch and G their mean gradients:
    E|G_b|^2 = |G|^2 + tr(cov) / b. Two sizes give both unknowns. With one shard, NaN.
    """
    counts = [weight for report in reports for weight in report.weights]
    lengths = [square for report in reports for square in report.squares]
    shards = [(b, square / b**2) for b, square in zip(counts, lengths, strict=True) if b > 0]
    total = sum(b for b, _ in shards)
    if len(shards) < 2:
        return Noise(math.nan, math.nan)
    small = sum(square for _, square in shards) / len(shards)
    inverse = sum(1 / b for b, _ in shards) / len(shards)
    spread = (small - squares) / (inverse - 1 / total)
    return Noise(spread, squares - spread / total)
