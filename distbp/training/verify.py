"""Verifies a run: does its steps again and compares their bits with the step log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distbp.config import CONFIG_JSON, Config
from distbp.data.dataset import DataSet
from distbp.data.fingerprint import data_fingerprint
from distbp.data.loading import load_as
from distbp.data.reading import Reading
from distbp.errors import Interrupted, RunError
from distbp.files.json_files import read_json
from distbp.parallel.step.records import StepRecord
from distbp.runs.comparison import Difference, first_difference
from distbp.runs.directory import CONFIG
from distbp.runs.saved import compute_options, config_of, with_compute_options
from distbp.runs.steplog import Steps, read_steps
from distbp.training.callbacks import Callback
from distbp.training.train import train


class _StepCheck(Callback):
    """Compares each step with the log, and ends the run at the first difference."""

    def __init__(self, log: Steps, steps: int) -> None:
        self._log, self.steps = log, steps
        self.equal = 0
        self.difference: Difference | None = None

    def on_step(self, record: StepRecord) -> bool:
        if self.difference is None and self.equal < self.steps:
            logged = self._log.records[record.step : record.step + 1]
            again = np.array(
                [(record.step, record.rows, record.right, record.cost, record.layers)], self._log.records.dtype
            )
            initial = self._log.initial
            difference = first_difference(Steps(initial, logged), Steps(initial, again))
            if difference is None:
                self.equal += 1
            else:
                self.difference = Difference(record.step, difference.layer)
        return self.difference is not None or self.equal >= self.steps


def verify(
    run: Path,
    workers: int | str | None = None,
    steps: int | None = None,
    callbacks: Sequence[Callback] = (),
    *,
    address: str | None = None,
    insecure: bool = False,
) -> tuple[int, Difference | None]:
    """Do the steps of a run again, or its first ``steps``; return how many are equal, and the first difference.

    Raises:
        UsageError: the run used a cluster, and neither ``workers`` nor ``address`` says where to compute now.
        RunError: the run cannot be read, or its data were arrays, or have changed.
    """
    settings, log = read_json(run / CONFIG, CONFIG_JSON), read_steps(run)
    config = with_compute_options(config_of(settings, run), run, compute_options(workers, address, insecure))
    check = _StepCheck(log, min(steps or len(log.records), len(log.records)))
    try:
        train(_unchanged_data(run, settings, config), config, callbacks=[check, *callbacks])
    except Interrupted:
        if check.difference is None and check.equal < check.steps:  # another callback ended the run
            raise
    return check.equal, check.difference


def _unchanged_data(run: Path, settings: Mapping[str, Any], config: Config) -> DataSet:
    """Read the data of a run.

    Raises:
        RunError: they were arrays, or have changed.
    """
    addresses = settings.get("data", ["arrays"])
    if "arrays" in addresses:
        raise RunError(f"the data of {run} were arrays of the program that began it, which are no longer there")
    data = load_as(addresses, Reading.of(config))
    if data_fingerprint(data) != settings.get("data_sha256"):
        raise RunError(f"the data of {run} have changed since: {', '.join(addresses)}")
    return data
