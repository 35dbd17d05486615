"""Progress of a run: steps, costs, scores and speed, collected for the live display."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from distbp.parallel.step.records import StepRecord
from distbp.training.callbacks import EpochRecord, RecoveryRecord, RunRecord

SCORES = ("test_accuracy", "test_r2", "test_rmse")
"""Scores of the test rows; the first one that an epoch's record has is shown."""


@dataclass
class EpochTotals:
    """Sums over the steps of the current epoch."""

    rows: int = 0
    right: int = 0
    """Rows whose class was predicted correctly."""
    cost: float = 0.0

    def add(self, record: StepRecord) -> None:
        """Add a step."""
        self.rows += record.rows
        self.right += record.right
        self.cost += record.cost * record.rows

    @property
    def mean_cost(self) -> float:
        """Mean cost per row, NaN before the first step."""
        return self.cost / self.rows if self.rows else math.nan


@dataclass
class SpeedMeter:
    """Training speed between two measurements, evaluation included."""

    began: float = field(default_factory=time.monotonic)
    rows: int = 0
    """Rows of all steps since the meter was made."""
    rows_per_second: float = 0.0
    _last_time: float = 0.0
    _last_rows: int = 0

    def measure(self, now: float) -> None:
        """Update the speed from the steps since the previous measurement; keep the old speed if there were none."""
        if self.rows > self._last_rows:
            self.rows_per_second = (self.rows - self._last_rows) / max(1e-9, now - (self._last_time or self.began))
        self._last_time, self._last_rows = now, self.rows

    def measure_whole_run(self, now: float) -> None:
        """Set the speed to the mean over the whole run."""
        self.rows_per_second = self.rows / max(1e-9, now - self.began)


@dataclass
class RunProgress:
    """State of one run, updated by the run's callbacks."""

    run: RunRecord
    step: int = 0
    """Number of steps done."""
    epoch: EpochTotals = field(default_factory=EpochTotals)
    speed: SpeedMeter = field(default_factory=SpeedMeter)
    costs: list[float] = field(default_factory=list)
    """Training cost of each epoch; during the first epoch, the mean cost so far at each refresh."""
    scores: list[float] = field(default_factory=list)
    """Test score of each epoch: the first of SCORES that its record has."""
    last_metrics: Any = None
    """Metrics of the last finished epoch; None during the first one."""
    findings: Sequence[Any] = ()
    """Health findings of the last finished epoch."""
    recoveries: int = 0
    last_recovery_step: int = 0
    ended: bool = False

    def add_step(self, record: StepRecord) -> None:
        """Add a step."""
        self.step = record.step + 1
        self.speed.rows += record.rows
        self.epoch.add(record)

    def add_epoch(self, record: EpochRecord) -> None:
        """Add the record of a finished epoch, and start the sums of the next one."""
        metrics = record.metrics
        if self.last_metrics is None:
            self.costs.clear()
        self.last_metrics, self.step = metrics, record.step
        self.findings = metrics.get("findings") or ()
        if isinstance(metrics.get("train_cost"), float):
            self.costs.append(metrics["train_cost"])
        name = next((name for name in SCORES if isinstance(metrics.get(name), float)), None)
        if name is not None:
            self.scores.append(metrics[name])
        self.epoch = EpochTotals()

    def add_recovery(self, record: RecoveryRecord) -> None:
        """Count the loss of a worker or a server."""
        self.recoveries, self.last_recovery_step = record.recoveries, record.step

    def refresh(self, now: float) -> None:
        """Update the speed and, in the first epoch, the cost curve; call it once per refresh of the display."""
        if self.ended:
            self.speed.measure_whole_run(now)
        else:
            self.speed.measure(now)
        if self.last_metrics is None and self.epoch.rows:
            self.costs.append(self.epoch.mean_cost)

    def seconds_left(self, now: float) -> float:
        """Return the estimated time to the end of the run; NaN before the first step."""
        done = self.step - self.run.step
        steps = self.run.config.epochs * self.run.steps_per_epoch
        return (now - self.speed.began) * (steps - self.step) / done if done else math.nan
