"""The contestants: the commands of distbp and its peers, and their reports."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import processes
from processes import CommandError, Finished

HERE = Path(__file__).resolve().parent
NOISE = 0.01
"""Test accuracies that differ by at most this much count as equal."""
BAD_USAGE = 2
_LINES_OF_AN_ERROR = 15


def default_data() -> Path:
    """Return the default folder of MNIST."""
    named = os.environ.get("DISTBP_TEST_DATA")
    return Path(named, "mnist") if named else HERE.parents[2] / "shared" / "data" / "mnist"


class Report(NamedTuple):
    """The result of one measurement."""

    samples_per_s: float
    step_ms: float
    test_accuracy: float | None = None
    workers: int | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Report:
        """Build a report from the JSON object that a command printed."""
        return cls(**{name: content[name] for name in cls._fields if name in content})


@dataclass(frozen=True)
class Contestant:
    """A contestant: it does a case's steps and reports how long they took."""

    title: str
    script: tuple[str, ...]
    """The arguments for Python; case, data and steps follow."""
    options: tuple[str, ...] = ()
    may_be_missing: bool = False
    """Whether exit code 2 means that this version lacks the contestant."""

    def measure(self, case: str, data: Path, steps: int) -> Report | None:
        """Do the steps in a separate process; return None if this version lacks the contestant.

        Raises:
            CommandError: the process failed.
        """
        finished = self.run(case, "--data", str(data), "--steps", str(steps), *self.options)
        if finished.code == BAD_USAGE and self.may_be_missing:
            return None
        return Report.of(self.result(finished))

    def run(self, *arguments: str) -> Finished:
        """Run the command."""
        return processes.run([sys.executable, *self.script, *arguments])

    def result(self, finished: Finished) -> dict[str, Any]:
        """Return the JSON object on the last line that was printed.

        Raises:
            CommandError: the command failed.
        """
        return result(self.title, finished)


def result(title: str, finished: Finished) -> dict[str, Any]:
    """Return the JSON object on the last line that a command printed.

    Raises:
        CommandError: the command failed.
    """
    if finished.code != 0:
        errors = "\n".join(finished.err.strip().splitlines()[-_LINES_OF_AN_ERROR:])
        raise CommandError(f"{title} ended with exit code {finished.code}:\n{errors}")
    content: dict[str, Any] = json.loads(finished.out.strip().splitlines()[-1])
    return content


def _distbp(workers: str, title: str) -> Contestant:
    return Contestant(title, ("-m", "distbp", "bench"), ("--workers", workers, "--json"), workers == "auto")


def _peer(name: str, title: str) -> Contestant:
    return Contestant(title, (str(HERE / f"{name}.py"),))


IN_PROCESS = _distbp("0", "distbp, in process")
ONE = _distbp("1", "distbp, 1 worker")
TWO = _distbp("2", "distbp, 2 workers")
AUTO = _distbp("auto", "distbp, auto")
DDP = _peer("peer_ddp", "PyTorch DDP")
RAY_TRAIN = _peer("peer_ray_train", "Ray Train")
SKLEARN = _peer("peer_sklearn", "scikit-learn")
FLOOR = _peer("gemm_floor", "GEMM floor")

OURS = (IN_PROCESS, ONE, TWO, AUTO)
PEERS = {"ddp": DDP, "ray-train": RAY_TRAIN, "sklearn": SKLEARN, "floor": FLOOR}
"""The peers by the names that options give them."""


def check_accuracies(case: str, by_title: Mapping[str, float | None]) -> None:
    """Compare the test accuracies, by title, of contestants that did the same steps.

    Raises:
        CommandError: the accuracies differ.
    """
    accuracies = {title: accuracy for title, accuracy in by_title.items() if accuracy is not None}
    if max(accuracies.values()) - min(accuracies.values()) > NOISE:
        listed = ", ".join(f"{title} {accuracy:.4f}" for title, accuracy in accuracies.items())
        raise CommandError(f"{case}: the same steps gave test accuracies that differ by more than {NOISE}: {listed}")
