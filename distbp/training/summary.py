"""The summary of a finished run: what summary.json holds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from distbp.model.files import weights_sha256
from distbp.model.network import Network
from distbp.parallel.step.executor import ManagedExecutor
from distbp.training.callbacks import RunRecord
from distbp.training.progress import Progress

_MEASURED = ("train_", "test_", "validation_")


class Summary:
    """Builds the summary of a run from its baselines and its progress."""

    def __init__(self, baselines: Mapping[str, Any], started: float) -> None:
        """``baselines`` are the scores of a constant and a linear model; ``started`` is a ``time.perf_counter()``."""
        self._baselines, self._started = baselines, started

    def of(self, network: Network, run: RunRecord, progress: Progress, executor: ManagedExecutor) -> dict[str, Any]:
        """Return the summary of a run that ended with this network."""
        config, history = executor.config, progress.history
        last = progress.early_stopping.result(history)
        seconds = sum(record["seconds"] for record in history)
        return {
            **{name: last[name] for name in last if name.startswith(_MEASURED)},
            **({} if progress.early_stopping.best_weights is None else {"best_epoch": last["epoch"]}),
            **self._baselines,
            "epochs": executor.step // run.steps_per_epoch,
            "steps": executor.step,
            "workers": config.workers.most,
            "shards": config.shards,
            "threads": config.threads,
            "seed": config.seed,
            "samples_per_second": run.train_rows * len(history) / seconds if seconds else math.nan,
            "step_ms": 1000 * progress.step_seconds,
            "wall_seconds": time.perf_counter() - self._started,
            "recoveries": progress.recoveries_before + executor.recoveries,
            "weights_sha256": weights_sha256(network.weights),
        }
