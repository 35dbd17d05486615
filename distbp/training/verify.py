"""A run done once more, to see whether every step gives the same bits again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distbp.config import SETTINGS
from distbp.data.fingerprint import data_fingerprint
from distbp.data.loading import load_as
from distbp.data.reading import Reading
from distbp.errors import Interrupted, RunError
from distbp.files.json_files import read_json
from distbp.parallel.step.records import StepRecord
from distbp.runs.comparison import Parting, first_difference
from distbp.runs.directory import CONFIG
from distbp.runs.saved import config_of, config_on, given_place
from distbp.runs.steplog import Steps, read_steps
from distbp.training.callbacks import Callback
from distbp.training.train import train


class _Check(Callback):
    """Compares each step with the log, and ends the run at the first that differs."""

    def __init__(self, log: Steps, steps: int) -> None:
        self._log, self.steps = log, steps
        self.equal = 0
        self.parting: Parting | None = None

    def on_step(self, record: StepRecord) -> bool:
        if self.parting is None and self.equal < self.steps:
            logged = self._log.records[record.step : record.step + 1]
            again = np.array(
                [(record.step, record.rows, record.right, record.cost, record.layers)], self._log.records.dtype
            )
            initial = self._log.initial
            found = first_difference(Steps(initial, logged), Steps(initial, again))
            if found is None:
                self.equal += 1
            else:
                self.parting = Parting(record.step, found.layer)
        return self.parting is not None or self.equal >= self.steps


def verify(
    run: Path,
    workers: int | str | None = None,
    steps: int | None = None,
    callbacks: Sequence[Callback] = (),
    *,
    address: str | None = None,
    insecure: bool = False,
) -> tuple[int, Parting | None]:
    """Do the steps of a run again, or its first ``steps``; return how many were equal, and where they part.

    Raises:
        UsageError: it was on a cluster, and neither ``workers`` nor ``address`` says where to compute now.
        RunError: it cannot be read, or its data were arrays, or have changed.
    """
    settings, log = read_json(run / CONFIG, SETTINGS), read_steps(run)
    config, data = config_of(settings, run), settings.get("data", ["arrays"])
    if "arrays" in data:
        raise RunError(f"the data of {run} were arrays of the program that began it, which are no longer there")
    config = config_on(config, run, given_place(workers, address, insecure))
    loaded = load_as(data, Reading.of(config))
    if data_fingerprint(loaded) != settings.get("data_sha256"):
        raise RunError(f"the data of {run} have changed since: {', '.join(data)}")
    check = _Check(log, min(steps or len(log.records), len(log.records)))
    try:
        train(loaded, config, callbacks=[check, *callbacks])
    except Interrupted:
        if check.parting is None and check.equal < check.steps:  # it was somebody else who wanted the end
            raise
    return check.equal, check.parting
