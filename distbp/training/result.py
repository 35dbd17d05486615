"""The result of a run: the network, its scores, and the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distbp.model.network import Network
from distbp.runs.directory import CHECKPOINTS


@dataclass(frozen=True)
class Result:
    """The result of a finished run; ``metrics``, ``checkpoint``, ``path`` and ``error`` are named as in Ray Train.

    Attributes:
        network: the trained network.
        summary: the content of ``summary.json``.
        history: the content of ``metrics.jsonl``, one record per epoch.
        run_directory: the directory of the run, None if it has none.

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
    """Always None: a run that fails raises its error instead of returning a result."""

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
        """The file of the newest checkpoint, None without a run directory. To resume, pass the run directory."""
        if self.run_directory is None:
            return None
        return max((self.run_directory / CHECKPOINTS).glob("step-*.safetensors"), default=None)
