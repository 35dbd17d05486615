"""Schedules: what --lr is multiplied by, as a function of the step alone, so a run can go on from any step.

With T steps in the run and t = 0..T-1; warm-up goes in front of any schedule, which then has the steps that are left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class Schedule(Protocol):
    """Says what the step size is multiplied by.

    An object of your own with this method can be given as ``schedule`` to :func:`distbp.train`:

    >>> class Halves:
    ...     def factor(self, step, steps):
    ...         return 1.0 if 2 * step < steps else 0.5
    >>> import distbp
    >>> result = distbp.train("digits", schedule=Halves(), workers=0, epochs=2)
    >>> [record["lr"] for record in result.history]
    [0.001, 0.0005]
    """

    def factor(self, step: int, steps: int) -> float:
        """Return the factor for step number ``step``, counted from 0, of ``steps``."""


@dataclass(frozen=True)
class Constant:
    """1 all the time."""

    def factor(self, step: int, steps: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class Step:
    """``gamma`` to the power of how many of ``parts`` equal parts of the run are over.

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
    """Down evenly on a logarithmic scale, to ``end`` after the run."""

    end: float = 0.01

    def factor(self, step: int, steps: int) -> float:
        """Return end^(t/T)."""
        return float(self.end ** (step / steps))


@dataclass(frozen=True)
class InverseTime:
    """Like 1/t (Robbins and Monro 1951), down to 1 / (1 + k) after the run."""

    k: float = 9.0

    def factor(self, step: int, steps: int) -> float:
        """Return 1 / (1 + k t/T)."""
        return 1.0 / (1.0 + self.k * step / steps)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine down to 0 (Loshchilov and Hutter 2017, eq. 5 without restarts)."""

    def factor(self, step: int, steps: int) -> float:
        """Return (1 + cos(pi t/T)) / 2."""
        return (1.0 + math.cos(math.pi * step / steps)) / 2


@dataclass(frozen=True)
class OneCycle:
    """Half a cosine up from 1/25 to 1 in the first 30 % of the run, another one down to 4e-6 (Smith and Topin 2018)."""

    rise: float = 0.3
    begin: float = 1 / 25
    end: float = 1 / 25e4

    def factor(self, step: int, steps: int) -> float:
        """Return the height of the cycle at this step; 1 is at rise T - 1, ``end`` at T - 1."""
        top = self.rise * steps - 1
        if step <= top and top > 0:
            return _between(self.begin, 1.0, step / top)
        return _between(1.0, self.end, (step - top) / (steps - 1 - top) if steps - 1 > top else 0.0)


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1.0 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class Plateau:
    """Times ``gamma`` whenever the cost has not fallen for more than ``patience`` epochs.

    It looks at the validation part's cost where there is one, else at the training cost; the test part decides nothing.
    """

    gamma: float = 0.5
    patience: int = 2
    least: float = 1e-4
    """The share by which a cost must be lower than the best to count as lower."""

    def factor(self, step: int, steps: int) -> float:
        """Return 1: this schedule follows the costs, not the steps."""
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
    """Evenly up over the first ``warmup`` steps, then another schedule over those that are left.

    >>> schedule = WarmUp(4, Constant())
    >>> [schedule.factor(t, 10) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    warmup: int
    then: Schedule

    def factor(self, step: int, steps: int) -> float:
        """Return (t + 1) / warmup, or what the other schedule says."""
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
"""Every schedule by its name."""
