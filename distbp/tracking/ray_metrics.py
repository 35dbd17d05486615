"""Metrics of a run as gauges that Ray exports to Prometheus."""

from __future__ import annotations

from typing import Any

from distbp.errors import needs
from distbp.parallel.step.records import StepRecord
from distbp.training.callbacks import Callback, EpochRecord, RecoveryRecord, RunRecord

_GAUGES = {
    "step": "Steps done",
    "epoch": "Epochs done",
    "cost": "Mean cost of the last mini-batch",
    "samples_per_second": "Training speed over the last epoch",
    "test_cost": "Mean cost of the test rows",
    "test_accuracy": "Share of the test rows that are classified correctly",
    "recoveries": "Workers and servers lost so far",
}


class RayMetrics(Callback):
    """Sends a run's metrics to Ray's metrics agent: ``distbp_step``, ``distbp_cost`` and others, tagged ``run``.

    Prometheus scrapes them from the cluster's nodes as ``ray_distbp_step`` and so on. They need a connection to Ray:
    with ``workers=0`` they are lost.
    """

    def __init__(self, run: str) -> None:
        """Tag the metrics with ``run``, the run's name."""
        self._tags = {"run": run}
        self._gauges: dict[str, Any] = {}

    def on_start(self, run: RunRecord) -> None:
        """Create the gauges."""
        with needs("ray", "cluster"):
            from ray.util.metrics import Gauge
        self._gauges = {name: Gauge(f"distbp_{name}", description, ("run",)) for name, description in _GAUGES.items()}
        self._set("recoveries", 0)

    def on_step(self, record: StepRecord) -> None:
        """Set the gauges of the step and its cost."""
        self._set("step", record.step + 1)
        self._set("cost", record.cost)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Set the gauges of the epoch's measurements."""
        self._set("epoch", record.epoch)
        for name in ("samples_per_second", "test_cost", "test_accuracy"):
            if record.metrics.get(name) is not None:
                self._set(name, record.metrics[name])

    def on_recovery(self, record: RecoveryRecord) -> None:
        """Set the gauge of recoveries."""
        self._set("recoveries", record.recoveries)

    def _set(self, name: str, value: float) -> None:
        self._gauges[name].set(value, tags=self._tags)
