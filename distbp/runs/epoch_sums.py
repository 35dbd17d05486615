"""Sums over the steps of an epoch; a checkpoint holds them, so that a resumed epoch continues them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from distbp.parallel.step.records import Diagnosis, StepRecord


class EpochSums:
    """Rows, costs and seconds of an unfinished epoch, summed over its steps so far."""

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        """Start from zero, or from what :meth:`to_json` returned before the run was resumed."""
        saved = saved or {}
        self.rows = int(saved.get("rows", 0))
        self.right = int(saved.get("right", 0))
        """Rows whose class was predicted correctly."""
        self.cost = float(saved.get("cost", 0.0))
        """Sum of the examples' costs, each times its weight."""
        self.weight = float(saved.get("weight", self.rows))
        """Sum of the examples' weights."""
        self.seconds = float(saved.get("seconds", 0.0))
        self.diagnosis = DiagnosisMeans(saved.get("means"))

    def to_json(self) -> dict[str, Any]:
        """Return the sums so far in JSON types."""
        return {
            "rows": self.rows,
            "right": self.right,
            "cost": self.cost,
            "weight": self.weight,
            "seconds": self.seconds,
            "means": self.diagnosis.to_json(),
        }

    @property
    def mean_cost(self) -> float:
        """The weighted mean of the examples' costs."""
        return self.cost / (self.weight or 1.0)

    def add(self, record: StepRecord) -> None:
        """Add a step."""
        self.rows += record.rows
        self.cost += record.cost * record.weight
        self.weight += record.weight
        self.right += record.right
        if record.diagnosis is not None:
            self.diagnosis.add(record.diagnosis)


class DiagnosisMeans:
    """Means over the diagnosed steps of an epoch."""

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        """Start from zero, or from what :meth:`to_json` returned before the run was resumed."""
        saved = saved or {"steps": 0, "gradient": [], "update": [], "spread": 0.0, "signal": 0.0}
        self.steps = int(saved["steps"])
        self._gradient, self._update = list(saved["gradient"]), list(saved["update"])
        self._spread, self._signal = float(saved["spread"]), float(saved["signal"])

    def to_json(self) -> dict[str, Any]:
        """Return the sums behind the means in JSON types."""
        return {
            "steps": self.steps,
            "gradient": self._gradient,
            "update": self._update,
            "spread": self._spread,
            "signal": self._signal,
        }

    def add(self, diagnosis: Diagnosis) -> None:
        """Add a diagnosed step."""
        pairs = zip(diagnosis.update_norms, diagnosis.weight_norms, strict=True)
        ratios = [update / weight if weight else 0.0 for update, weight in pairs]
        self.steps += 1
        self._gradient = _added(self._gradient, diagnosis.gradient_norms)
        self._update = _added(self._update, ratios)
        if math.isfinite(diagnosis.spread) and math.isfinite(diagnosis.signal):
            self._spread += diagnosis.spread
            self._signal += diagnosis.signal

    @property
    def gradient_norms(self) -> list[float]:
        """The mean norm of each layer's gradient."""
        return [total / self.steps for total in self._gradient]

    @property
    def update_ratios(self) -> list[float]:
        """The mean norm of each layer's update, divided by the norm of its weights."""
        return [total / self.steps for total in self._update]

    @property
    def noise_scale(self) -> float | None:
        """Gradient noise scale (McCandlish et al. 2018): the mini-batch size at which noise equals signal.

        A mini-batch far below it saves steps in proportion to its size, one far above it saves hardly any. None where
        the means give no positive ratio. With row weights, the unit is rows of equal weight (see
        distbp.parallel.step.diagnosis).
        """
        return self._spread / self._signal if self._signal > 0 and self._spread > 0 else None


def _added(totals: Sequence[float], more: Sequence[float]) -> list[float]:
    return [total + each for total, each in zip(totals or [0.0] * len(more), more, strict=True)]
