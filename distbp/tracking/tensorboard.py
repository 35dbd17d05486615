"""Event files for TensorBoard (``pip install 'distbp[tensorboard]'``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distbp.errors import needs
from distbp.parallel.step.records import StepRecord
from distbp.tracking.scalars import hyper_parameters, scalars
from distbp.training.callbacks import Callback, EpochRecord, RunRecord


class TensorBoard(Callback):
    """Writes scalars, a histogram of each layer's w and b per epoch, and the settings as hyper-parameters.

    Scalars are the numbers of metrics.jsonl under their names, at the number of steps done; ``step_cost`` is that of
    every ``every``-th step. A run that goes on writes on into the same folder, and what came after the step from which
    it goes on is no longer shown.
    """

    def __init__(self, folder: str | Path, every: int = 10) -> None:
        """Write below ``folder``, which ``tensorboard --logdir`` is given.

        Raises:
            ImportError: the extra is not installed.
        """
        with needs("tensorboardX", "tensorboard"):
            import tensorboardX
        self._library: Any = tensorboardX
        self._folder, self._every = str(folder), every
        self._writer: Any = None

    def on_start(self, run: RunRecord) -> None:
        """Begin an event file."""
        again: dict[str, Any] = {}
        if run.step:  # the name of a file has the second in it, which may be the same as before
            again = {"purge_step": run.step + 1, "filename_suffix": f".{run.step}"}
        self._writer = self._library.SummaryWriter(self._folder, **again)
        named = hyper_parameters(run.config)
        told = self._library.summary.hparams(named, {"train_cost": 0.0, "test_cost": 0.0})
        for summary in told:
            self._writer.file_writer.add_summary(summary)

    def on_step(self, record: StepRecord) -> None:
        """Write the step's cost."""
        if (record.step + 1) % self._every == 0:
            self._writer.add_scalar("step_cost", record.cost, record.step + 1)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Write the epoch's numbers and histograms."""
        for name, value in scalars(record.metrics).items():
            self._writer.add_scalar(name, value, record.step)
        network = record.network
        for l, (w, b) in enumerate(network.structure.layers(network.weights), start=1):
            self._writer.add_histogram(f"layer{l}/w", w.reshape(-1), record.step)
            self._writer.add_histogram(f"layer{l}/b", b, record.step)
        self._writer.flush()

    def on_end(self, error: BaseException | None) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
