"""What the steps of an epoch add up to, also over a break."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from distbp.parallel.step.records import Diagnosis, StepRecord


class Sums:
    """What the steps of an unfinished epoch add up to."""

    def __init__(self, told: Mapping[str, Any] | None = None) -> None:
        """Begin with nothing, or with what :meth:`to_json` told before a break."""
        told = told or {}
        self.rows = int(told.get("rows", 0))
        self.right = int(told.get("right", 0))
        self.cost = float(told.get("cost", 0.0))
        """Sum of the examples' costs, each times what it counts."""
        self.weight = float(told.get("weight", self.rows))
        """What the examples count together."""
        self.seconds = float(told.get("seconds", 0.0))
        self.means = Means(told.get("means"))

    def to_json(self) -> dict[str, Any]:
        """Return the sums so far as JSON's types."""
        return {
            "rows": self.rows, "right": self.right, "cost": self.cost, "weight": self.weight, "seconds": self.seconds,
            "means": self.means.to_json(),
        }  # fmt: skip

    @property
    def mean_cost(self) -> float:
        """The mean of the examples' costs over what they count."""
        return self.cost / (self.weight or 1.0)

    def add(self, record: StepRecord) -> None:
        """Add a step."""
        self.rows += record.rows
        self.cost += record.cost * record.weight
        self.weight += record.weight
        self.right += record.right
        if record.diagnosis is not None:
            self.means.add(record.diagnosis)


class Means:
    """The diagnosed steps of an epoch, averaged."""

    def __init__(self, told: Mapping[str, Any] | None = None) -> None:
        """Begin with nothing, or with what :meth:`to_json` told of an epoch's steps before a break."""
        told = told or {"steps": 0, "gradient": [], "update": [], "spread": 0.0, "signal": 0.0}
        self.steps = int(told["steps"])
        self._gradient, self._update = list(told["gradient"]), list(told["update"])
        self._spread, self._signal = float(told["spread"]), float(told["signal"])

    def to_json(self) -> dict[str, Any]:
        """Return the sums so far as JSON's types."""
        return {
            "steps": self.steps, "gradient": self._gradient, "update": self._update,
            "spread": self._spread, "signal": self._signal,
        }  # fmt: skip

    def add(self, found: Diagnosis) -> None:
        """Add a step."""
        pairs = zip(found.update_norms, found.weight_norms, strict=True)
        ratios = [update / weight if weight else 0.0 for update, weight in pairs]
        self.steps += 1
        self._gradient = _added(self._gradient, found.gradient_norms)
        self._update = _added(self._update, ratios)
        if math.isfinite(found.spread) and math.isfinite(found.signal):
            self._spread += found.spread
            self._signal += found.signal

    @property
    def gradient_norms(self) -> list[float]:
        """The length of each layer's gradient."""
        return [total / self.steps for total in self._gradient]

    @property
    def update_ratios(self) -> list[float]:
        """The length of each layer's change in a step, as a share of its weights' length."""
        return [total / self.steps for total in self._update]

    @property
    def noise_scale(self) -> float | None:
        """Rows per mini-batch at which noise and signal are equal (McCandlish et al. 2018); None if it cannot be told.

        Where rows have weights it is counted in rows of equal weight (see distbp.parallel.step.diagnosis). Far below it
        a larger mini-batch saves steps in proportion, far above it hardly any.
        """
        return self._spread / self._signal if self._signal > 0 and self._spread > 0 else None


def _added(totals: Sequence[float], more: Sequence[float]) -> list[float]:
    return [total + each for total, each in zip(totals or [0.0] * len(more), more, strict=True)]
