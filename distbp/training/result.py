"""What a run gives: the network, its numbers, and where it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distbp.model.network import Evaluation, Network
from distbp.runs.directory import CHECKPOINTS


@dataclass(frozen=True)
class Result:
    """What a finished run gives; the names that Ray Train and Ray Tune use for it mean the same here.

    Attributes:
        network: the trained network.
        summary: what ``summary.json`` holds.
        history: what ``metrics.jsonl`` holds, one record per epoch.
        run_directory: where the run was kept, None if it was not.

    >>> import distbp
    >>> result = distbp.train("digits", workers=0, epochs=2)
    >>> result.metrics["epoch"], result.checkpoint, result.error
    (2, None, None)
    """

    network: Network
    summary: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    run_directory: Path | None
    error: None = None
    """A run that fails raises its error instead."""

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The last epoch's record."""
        return self.history[-1] if self.history else {}

    @property
    def path(self) -> Path | None:
        """The run directory."""
        return self.run_directory

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint's file, None if the run was not kept; ``distbp.resume`` takes the run directory."""
        if self.run_directory is None:
            return None
        return max((self.run_directory / CHECKPOINTS).glob("step-*.safetensors"), default=None)


def named(part: str, evaluation: Evaluation) -> dict[str, Any]:
    """Return what applies to the task of an evaluation, by the names of the summary."""
    found = evaluation._asdict()
    return {f"{part}_{name}": found[name] for name in ("cost", "accuracy", "rmse", "r2") if found[name] is not None}
