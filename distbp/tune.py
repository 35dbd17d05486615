"""Trials of Ray Tune (``pip install 'distbp[tune]'``): train within one, on the CPUs that Tune keeps for it."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from distbp.config import Config
from distbp.data.sources import Source
from distbp.errors import UsageError, needs
from distbp.runs.directory import CHECKPOINTS
from distbp.training.callbacks import Callback, CheckpointRecord, EpochRecord
from distbp.training.result import Result
from distbp.training.train import resume
from distbp.training.train import train as train_network

_RUN = "distbp"


def resources(workers: int = 0) -> Any:
    """Return what ``ray.tune.with_resources`` keeps for each trial: a CPU for this process, or one for each worker.

    With workers the trial's own process only looks on, and needs none.
    """
    with needs("ray[tune]", "tune"):
        from ray.tune import PlacementGroupFactory
    return PlacementGroupFactory([{}] + [{"CPU": 1}] * workers if workers else [{"CPU": 1}])


def train(
    data: Source | Sequence[Source],
    config: Config | None = None,
    *,
    workers: int | None = None,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Result:
    """Train within a trial of Ray Tune: :func:`distbp.train` that reports each epoch to it, with a checkpoint.

    Workers start on the CPUs of the trial's placement group (see :func:`resources`): by default one on each that the
    trial's own process leaves free, and none if it leaves none. A trial that was killed or stopped goes on from the
    checkpoint that Tune gives back, and comes to the weights of an undisturbed one. What a scheduler such as ASHA
    wants to look at is in the records of metrics.jsonl: ``test_cost``, ``validation_cost``, ..; ``epoch`` counts.

    Raises:
        UsageError: this is no trial.
        DistbpError: as in :func:`distbp.train`.
    """
    with needs("ray[tune]", "tune"):
        from ray import tune
    context = tune.get_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Tune's own word for what is said here
        is_trial = context.get_trial_id() is not None
    if not is_trial:
        raise UsageError("distbp.tune.train works within a trial of Ray Tune: elsewhere use distbp.train")
    run_dir = Path(context.get_trial_dir()) / _RUN
    if config is not None and settings:
        raise UsageError(f"give a config or settings by name, not both: found {', '.join(settings)}")
    if workers is None:
        from distbp.actors import free_cpus

        workers = free_cpus() or 0
    wanted = replace(config or Config.from_settings(settings), workers=workers)
    told = [_Report(run_dir, tune), *callbacks]
    given = tune.get_checkpoint()
    if given is not None:
        with given.as_directory() as folder:
            shutil.rmtree(run_dir, ignore_errors=True)
            shutil.copytree(folder, run_dir)
        return resume(run_dir, data, wanted, callbacks=told)
    shutil.rmtree(run_dir, ignore_errors=True)  # of an attempt that came to no checkpoint
    return train_network(data, wanted, run_dir=run_dir, callbacks=told)


class _Report(Callback):
    """Reports each epoch, as soon as the checkpoint at its end is on the disk."""

    def __init__(self, run_dir: Path, tune: Any) -> None:
        self._run_dir, self._tune = run_dir, tune
        self._waiting: list[EpochRecord] = []

    def on_epoch_end(self, record: EpochRecord) -> None:
        self._waiting.append(record)

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        while self._waiting and self._waiting[0].step <= record.step:
            epoch = self._waiting.pop(0)
            if epoch.step < record.step or not record.path.exists():  # it was given up for a newer one
                self._tune.report(_reported(epoch.metrics))
                continue
            with tempfile.TemporaryDirectory(dir=self._run_dir.parent) as folder:  # which is the trial's own
                _copy(self._run_dir, Path(folder), record.path)
                checkpoint = self._tune.Checkpoint.from_directory(folder)
                self._tune.report(_reported(epoch.metrics), checkpoint=checkpoint)


def _reported(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return an epoch's record without what is no number."""
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}


def _copy(run_dir: Path, folder: Path, checkpoint: Path) -> None:
    """Copy what a run needs to go on from this checkpoint."""
    for path in run_dir.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy2(path, folder / path.name)
    (folder / CHECKPOINTS).mkdir()
    shutil.copy2(checkpoint, folder / CHECKPOINTS / checkpoint.name)
