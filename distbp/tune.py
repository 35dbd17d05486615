"""Training inside a Ray Tune trial, on the CPUs of the trial's placement group (``pip install 'distbp[tune]'``)."""

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

_RUN_DIRECTORY = "distbp"
"""Name of the run directory in the trial's folder."""


def resources(workers: int = 0) -> Any:
    """Return a trial's resources for ``ray.tune.with_resources``: one CPU, or one per worker if there are workers.

    With workers, the trial's own process only coordinates them and gets no CPU.
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
    """Train like :func:`distbp.train` inside a Ray Tune trial, and report each epoch with a checkpoint to Tune.

    Workers start on the CPUs of the trial's placement group (see :func:`resources`): by default one on each CPU that
    the trial's own process does not use. A killed or paused trial continues from the checkpoint that Tune restores, and
    reaches the weights of an uninterrupted one. The reported metrics, for a scheduler such as ASHA, are those of
    metrics.jsonl: ``test_cost``, ``validation_cost``, ..; the time attribute is ``epoch``.

    Raises:
        UsageError: the code does not run inside a trial.
        DistbpError: as in :func:`distbp.train`.
    """
    with needs("ray[tune]", "tune"):
        from ray import tune
    context = tune.get_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Tune warns outside a trial; the error below replaces that warning
        is_trial = context.get_trial_id() is not None
    if not is_trial:
        raise UsageError("distbp.tune.train works only inside a Ray Tune trial: use distbp.train elsewhere")
    run_dir = Path(context.get_trial_dir()) / _RUN_DIRECTORY
    if config is not None and settings:
        raise UsageError(f"give a config or settings by name, not both: found {', '.join(settings)}")
    if workers is None:
        from distbp.actors import free_cpus

        workers = free_cpus() or 0
    wanted = replace(config or Config.from_settings(settings), workers=workers)
    all_callbacks = [_TuneReporter(run_dir, tune), *callbacks]
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            shutil.rmtree(run_dir, ignore_errors=True)
            shutil.copytree(folder, run_dir)
        return resume(run_dir, data, wanted, callbacks=all_callbacks)
    shutil.rmtree(run_dir, ignore_errors=True)  # of an attempt that ended before its first checkpoint
    return train_network(data, wanted, run_dir=run_dir, callbacks=all_callbacks)


class _TuneReporter(Callback):
    """Reports each epoch to Tune once the checkpoint at its end is on disk."""

    def __init__(self, run_dir: Path, tune: Any) -> None:
        self._run_dir, self._tune = run_dir, tune
        self._unreported: list[EpochRecord] = []

    def on_epoch_end(self, record: EpochRecord) -> None:
        self._unreported.append(record)

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        while self._unreported and self._unreported[0].step <= record.step:
            epoch = self._unreported.pop(0)
            if epoch.step < record.step or not record.path.exists():  # its checkpoint was replaced by a newer one
                self._tune.report(_numbers(epoch.metrics))
                continue
            with tempfile.TemporaryDirectory(dir=self._run_dir.parent) as folder:  # in the trial's own folder
                _copy_run(self._run_dir, Path(folder), record.path)
                checkpoint = self._tune.Checkpoint.from_directory(folder)
                self._tune.report(_numbers(epoch.metrics), checkpoint=checkpoint)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numeric entries of an epoch's record."""
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}


def _copy_run(run_dir: Path, folder: Path, checkpoint: Path) -> None:
    """Copy the files of a run that are needed to resume from a checkpoint."""
    for path in run_dir.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy2(path, folder / path.name)
    (folder / CHECKPOINTS).mkdir()
    shutil.copy2(checkpoint, folder / CHECKPOINTS / checkpoint.name)
