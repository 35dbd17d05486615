"""MLflow logging (``pip install 'distbp[mlflow]'``)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from distbp.errors import Interrupted, needs
from distbp.tracking.scalars import hyper_parameters, scalars
from distbp.training.callbacks import Callback, EpochRecord, RunRecord

_ARTIFACTS = ("config.json", "metrics.jsonl", "summary.json", "model.json", "model.safetensors")


class MLflow(Callback):
    """Logs a run to MLflow: settings as parameters, metrics of each epoch, the model's files and the final status.

    The status of a failed run is FAILED, that of an interrupted run KILLED. The callback uses MLflow's client and
    changes no global state of MLflow. ``run_id`` is set when the run starts.
    """

    def __init__(
        self, experiment: str = "distbp", tracking_uri: str | None = None, run_name: str | None = None
    ) -> None:
        """Log to the server or store at ``tracking_uri``; None takes MLflow's own setting.

        Raises:
            ImportError: the extra is not installed.
        """
        with needs("mlflow", "mlflow"):
            from mlflow import entities
            from mlflow.tracking import MlflowClient
        self._entities: Any = entities
        self._client: Any = MlflowClient(tracking_uri)
        self._experiment, self._run_name = experiment, run_name
        self.run_id: str | None = None
        self._folder: Path | None = None

    def on_start(self, run: RunRecord) -> None:
        """Create a run in the experiment, and the experiment if it does not exist."""
        existing = self._client.get_experiment_by_name(self._experiment)
        experiment = existing.experiment_id if existing else self._client.create_experiment(self._experiment)
        name = self._run_name or (run.run_directory.name if run.run_directory else None)
        self.run_id = self._client.create_run(experiment, run_name=name).info.run_id
        self._folder = run.run_directory
        param = self._entities.Param
        params = [param(key, str(value)) for key, value in hyper_parameters(run.config).items()]
        self._client.log_batch(self.run_id, params=params)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Log the epoch's numbers; the MLflow step is the number of steps done."""
        now, metric = int(1000 * time.time()), self._entities.Metric
        numbers = scalars(record.metrics).items()
        self._client.log_batch(self.run_id, metrics=[metric(name, value, now, record.step) for name, value in numbers])

    def on_end(self, error: BaseException | None) -> None:
        """Log the run's files, if it has a directory, and its final status."""
        if self.run_id is None:
            return
        for name in _ARTIFACTS if self._folder is not None else ():
            if self._folder is not None and (self._folder / name).exists():
                self._client.log_artifact(self.run_id, str(self._folder / name))
        killed = isinstance(error, Interrupted | KeyboardInterrupt | SystemExit)
        status = "FINISHED" if error is None else "KILLED" if killed else "FAILED"
        self._client.set_terminated(self.run_id, status)
