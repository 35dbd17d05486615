"""TensorBoard event files (``pip install 'distbp[tensorboard]'``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distbp.errors import needs
from distbp.parallel.step.records import StepRecord
from distbp.tracking.scalars import hyper_parameters, scalars
from distbp.training.callbacks import Callback, EpochRecord, RunRecord


class TensorBoard(Callback):
    """Writes scalars, the settings as hyper-parameters and, after each epoch, histograms of each layer's w and b.

    Scalars have the names of metrics.jsonl; their x-axis is the number of steps done. ``step_cost`` is the cost of
    every ``every``-th step. A resumed run writes to the same folder, and TensorBoard discards the values after the step
    from which the run resumed.
    """

    def __init__(self, folder: str | Path, every: int = 10) -> None:
        """Write event files to ``folder``, the ``--logdir`` of TensorBoard.

        Raises:
            ImportError: the extra is not installed.
        """
        with needs("tensorboardX", "tensorboard"):
            import tensorboardX
        self._library: Any = tensorboardX
        self._folder, self._every = str(folder), every
        self._writer: Any = None

    def on_start(self, run: RunRecord) -> None:
        """Open an event file."""
        resumed: dict[str, Any] = {}
        if run.step:  # the suffix keeps names distinct: the rest is the time in seconds, which may be the same
            resumed = {"purge_step": run.step + 1, "filename_suffix": f".{run.step}"}
        self._writer = self._library.SummaryWriter(self._folder, **resumed)
        settings = hyper_parameters(run.config)
        for summary in self._library.summary.hparams(settings, {"train_cost": 0.0, "test_cost": 0.0}):
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
