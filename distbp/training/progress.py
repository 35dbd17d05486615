"""The progress of a run beside its weights: epoch records, sums of the unfinished epoch, health and best weights."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any, Self

from distbp.config import Settings
from distbp.runs.epoch_sums import EpochSums
from distbp.runs.saved import SavedRun
from distbp.training.early_stopping import EarlyStopping
from distbp.training.health import Health

_STEPS_IN_THE_MEDIAN = 10_000


class Progress:
    """The records of a run so far, which a resumed run continues."""

    def __init__(self, early_stopping: EarlyStopping) -> None:
        self.early_stopping = early_stopping
        self.history: list[Mapping[str, Any]] = []
        """The records of the epochs done."""
        self.sums = EpochSums()
        self.health = Health()
        self.recoveries_before = 0
        """Recoveries before this process resumed the run; each resumption counts as one."""
        self._step_seconds: deque[float] = deque(maxlen=_STEPS_IN_THE_MEDIAN)

    @classmethod
    def resumed(cls, saved: SavedRun, config: Settings, steps_per_epoch: int) -> Self:
        """Return the progress up to the checkpoint of a saved run."""
        epochs, described = saved.epochs(steps_per_epoch), saved.checkpoint.described
        progress = cls(EarlyStopping(config.early_stopping, saved.best_weights(epochs, config)))
        progress.history = saved.history(epochs, config)
        progress.sums = EpochSums(described["epoch"])
        progress.health = Health(described.get("health"))
        progress.recoveries_before = described["recoveries"] + 1
        return progress

    def add_step_seconds(self, seconds: float) -> None:
        """Add the duration of a step."""
        self._step_seconds.append(seconds)

    @property
    def step_seconds(self) -> float:
        """The median duration of a step; NaN before the first one."""
        return statistics.median(self._step_seconds or [math.nan])

    def take_sums(self) -> EpochSums:
        """Return the sums of the epoch that is done, and start those of the next one."""
        sums, self.sums = self.sums, EpochSums()
        return sums
