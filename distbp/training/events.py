"""Events of a run that callbacks are notified of: recoveries, written checkpoints and new findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distbp.parallel.step.executor import Executor, ManagedExecutor
from distbp.runs.writer import NoWriter, RunWriter
from distbp.training.callbacks import Callbacks, CheckpointRecord, RecoveryRecord, RunRecord
from distbp.training.evaluation import Evaluator


class Events:
    """Notifies the callbacks of each event once."""

    def __init__(self, callbacks: Callbacks, writer: RunWriter | NoWriter, recoveries_before: int) -> None:
        self._callbacks, self._writer = callbacks, writer
        self._recoveries_before, self._recoveries_seen = recoveries_before, 0
        self._kinds_noted: set[str] = set()

    def recoveries(self, executor: Executor) -> None:
        """Report and record the recoveries since the last call."""
        if executor.recoveries > self._recoveries_seen:
            self._recoveries_seen = executor.recoveries
            step, text = self._callbacks.step, self._callbacks.last_note
            self._writer.recovery(step, text)
            record = RecoveryRecord(step, text, self._recoveries_before + executor.recoveries)
            self._callbacks.notify("on_recovery", record)

    def checkpoints(self) -> None:
        """Report the checkpoints that were written since the last call."""
        for step, path in self._writer.take_written_checkpoints():
            self._callbacks.notify("on_checkpoint", CheckpointRecord(step, path))

    def findings(self, findings: Sequence[Mapping[str, Any]]) -> None:
        """Note the first finding of each kind in the run, not its repetitions in other layers and epochs."""
        for finding in findings:
            if finding["kind"] not in self._kinds_noted:
                self._kinds_noted.add(finding["kind"])
                self._callbacks.note(finding["text"])


def run_record(
    executor: ManagedExecutor, evaluator: Evaluator, train_rows: int, steps_per_epoch: int, run_directory: Path | None
) -> RunRecord:
    """Return the record of a run whose executor is ready for its first step."""
    return RunRecord(
        config=executor.config.as_config(),
        structure=evaluator.structure,
        train_rows=train_rows,
        test_rows=len(evaluator.test),
        steps_per_epoch=steps_per_epoch,
        run_directory=run_directory,
        step=executor.step,
        columns=evaluator.columns,
        workers=executor.workers,
    )
