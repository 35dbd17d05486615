"""Schedules: factors of the learning rate that depend only on the step, so a run can resume at any step.

A run has T steps, t = 0..T-1. A warm-up precedes any schedule, which then covers the remaining steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class Schedule(Protocol):
    """A factor of the learning rate for each step.

    Any object with this method works as the ``schedule`` of :func:`distbp.train`:

    >>> class Halves:
    ...     def factor(self, step, steps):
    ...         return 1.0 if 2 * step < steps else 0.5
    >>> import distbp
    >>> result = distbp.train("digits", schedule=Halves(), workers=0, epochs=2)
    >>> [record["lr"] for record in result.history]
    [0.001, 0.0005]
    """

    def factor(self, step: int, steps: int) -> float:
        """Return the factor for step number ``step`` (counted from 0) of ``steps``."""


@dataclass(frozen=True)
class Constant:
    """A constant factor of 1."""

    def factor(self, step: int, steps: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class Step:
    """Multiplies by ``gamma`` after each of ``parts`` equal parts of the run.

    >>> [round(Step().factor(t, 9), 4) for t in range(9)]
    [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    """

    parts: int = 3
    gamma: float = 0.1

    def factor(self, step: int, steps: int) -> float:
        """Return gamma^floor(t parts / T)."""
        return float(self.gamma ** (step * self.parts // steps))


@dataclass(frozen=True)
class Exponential:
    """Exponential decay from 1 to ``end`` over the run."""

    end: float = 0.01

    def factor(self, step: int, steps: int) -> float:
        """Return end^(t/T)."""
        return float(self.end ** (step / steps))


@dataclass(frozen=True)
class InverseTime:
    """Decay like 1/t (Robbins and Monro 1951), from 1 to 1 / (1 + k) over the run."""

    k: float = 9.0

    def factor(self, step: int, steps: int) -> float:
        """Return 1 / (1 + k t/T)."""
        return 1.0 / (1.0 + self.k * step / steps)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave from 1 to 0 (Loshchilov and Hutter 2017, eq. 5 without restarts)."""

    def factor(self, step: int, steps: int) -> float:
        """Return (1 + cos(pi t/T)) / 2."""
        return (1.0 + math.cos(math.pi * step / steps)) / 2


@dataclass(frozen=True)
class OneCycle:
    """Half a cosine wave from 1/25 up to 1 over the first 30 % of the run, then down to 4e-6 (Smith and Topin 2018)."""

    rise: float = 0.3
    begin: float = 1 / 25
    end: float = 1 / 25e4

    def factor(self, step: int, steps: int) -> float:
        """Return the factor: 1 at step ``rise * T - 1``, ``end`` at step ``T - 1``, with T the number of steps."""
        peak = self.rise * steps - 1
        if step <= peak and peak > 0:
            return _half_cosine(self.begin, 1.0, step / peak)
        return _half_cosine(1.0, self.end, (step - peak) / (steps - 1 - peak) if steps - 1 > peak else 0.0)


def _half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1.0 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class Plateau:
    """Multiplies the rate by ``gamma`` when the cost has not fallen for more than ``patience`` epochs.

    It follows the validation cost if there are validation rows, else the training cost, never the test rows.
    """

    gamma: float = 0.5
    patience: int = 2
    least: float = 1e-4
    """Smallest relative improvement over the best cost that counts as a fall."""

    def factor(self, step: int, steps: int) -> float:
        """Return 1: this schedule depends on the costs, not on the step."""
        return 1.0

    def after(self, costs: Sequence[float]) -> float:
        """Return the factor after epochs with these costs.

        >>> Plateau(patience=1).after([3.0, 2.0, 2.0, 2.1, 1.9])
        0.5
        """
        factor, best, bad = 1.0, math.inf, 0
        for cost in costs:
            if best == math.inf or cost < best - self.least * abs(best):
                best, bad = cost, 0
            else:
                bad += 1
            if bad > self.patience:
                factor, bad = factor * self.gamma, 0
        return factor


@dataclass(frozen=True)
class WarmUp:
    """Linear warm-up over the first ``warmup`` steps, then another schedule over the remaining ones.

    >>> schedule = WarmUp(4, Constant())
    >>> [schedule.factor(t, 10) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    warmup: int
    then: Schedule

    def factor(self, step: int, steps: int) -> float:
        """Return (t + 1) / warmup during the warm-up, then the other schedule's factor."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return self.then.factor(step - self.warmup, steps - self.warmup)


SCHEDULES: Mapping[str, Schedule] = {
    "constant": Constant(),
    "step": Step(),
    "exponential": Exponential(),
    "inverse-time": InverseTime(),
    "cosine": Cosine(),
    "one-cycle": OneCycle(),
    "plateau": Plateau(),
}
"""Schedules by name."""
