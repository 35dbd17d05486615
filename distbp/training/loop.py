"""The training loop: mini-batch gradient descent over epochs, the same for every executor."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing, suppress
from typing import Any

from distbp.data.dataset import Array
from distbp.errors import CallbackError, DistbpError, DivergedError, Interrupted
from distbp.files.json_files import for_json
from distbp.model.network import Network
from distbp.optim import Rule
from distbp.parallel.step.executor import ManagedExecutor
from distbp.runs.epoch_sums import EpochSums
from distbp.runs.writer import NoWriter, RunWriter
from distbp.training.callbacks import Callbacks, EpochRecord, RunRecord
from distbp.training.early_stopping import rate_factor
from distbp.training.evaluation import Evaluator
from distbp.training.events import Events
from distbp.training.executors import WorkersAdvice
from distbp.training.health import Finding
from distbp.training.progress import Progress
from distbp.training.result import Result
from distbp.training.summary import Summary


class TrainingLoop:
    """Trains epoch by epoch: does the steps, evaluates the network, writes a checkpoint, decides when to stop."""

    def __init__(
        self,
        executor: ManagedExecutor,
        evaluator: Evaluator,
        run: RunRecord,
        progress: Progress,
        summary: Summary,
        advice: WorkersAdvice,
        writer: RunWriter | NoWriter,
        callbacks: Callbacks,
    ) -> None:
        self._executor, self._evaluator, self._run = executor, evaluator, run
        self._progress, self._summary, self._advice = progress, summary, advice
        self._writer, self._callbacks = writer, callbacks
        self._events = Events(callbacks, writer, progress.recoveries_before)
        self._rule = Rule.of(executor.config, run.steps_per_epoch)

    def run(self) -> Result:
        """Train until the last epoch or an early stop, write the model and the summary, and return the result."""
        executor, progress = self._executor, self._progress
        self._callbacks.step = executor.step
        self._callbacks.notify("on_start", self._run)
        try:
            if executor.step == 0:
                state = executor.state()
                progress.health.begin(self._evaluator.structure, state[0])
                self._checkpoint(state)
            for epoch in range(self._first_epoch(), executor.config.epochs):
                if self._epoch(epoch) or progress.early_stopping.is_over(progress.history):
                    break
        except BaseException as error:
            if isinstance(error, DistbpError):
                self._save_state(error)
            self._note_how_to_resume(error)
            raise
        return self._finish()

    def _first_epoch(self) -> int:
        """Return the index of the epoch to continue: the previous one if only its evaluation is missing."""
        epoch, steps_done = divmod(self._executor.step, self._run.steps_per_epoch)
        return epoch - 1 if steps_done == 0 and self._progress.sums.rows else epoch

    def _epoch(self, epoch: int) -> bool:
        """Do the rest of an epoch and evaluate it; return whether a callback wants it to be the last one."""
        executor, progress = self._executor, self._progress
        stop, seconds_before = (epoch + 1) * self._run.steps_per_epoch, progress.sums.seconds
        self._writer.begin_epoch(executor.spent())
        while executor.step < stop:
            if self._steps(stop):
                raise Interrupted(f"interrupted in epoch {epoch + 1}")
            if executor.step < stop:
                self._checkpoint(executor.state())
        sums = progress.take_sums()
        if epoch == 0:
            self._note_advice()
        state = executor.state()
        network = self._evaluator.network(state[0])
        record = self._epoch_record(epoch, sums, network)
        health, exploded = progress.health.examine(network, sums, executor.step - 1, self._evaluator.examined)
        record |= for_json(health)
        progress.history.append(record)
        self._writer.end_epoch(record, sums.seconds - seconds_before, executor.spent())
        best = progress.early_stopping.new_best(progress.history, state[0])
        if best is not None:
            self._writer.best(best)
        self._events.findings(record["findings"])
        if exploded is not None:
            raise exploded
        self._checkpoint(state)
        return self._callbacks.notify("on_epoch_end", EpochRecord(epoch + 1, executor.step, record, network))

    def _steps(self, stop: int) -> bool:
        """Do steps until ``stop`` or until a checkpoint is due; return whether a callback wants the run to end."""
        executor, progress = self._executor, self._progress
        began = time.perf_counter()
        wants_end = False
        try:
            with closing(executor.steps(stop, self._rate_factor())) as records:
                for record in records:
                    progress.add_step_seconds(record.seconds)
                    progress.sums.add(record)
                    progress.health.add(record)
                    self._writer.step(record)
                    self._callbacks.step = record.step + 1
                    wants_end = self._callbacks.notify("on_step", record) or wants_end
                    self._events.recoveries(executor)
                    self._events.checkpoints()
                    if wants_end or self._writer.is_checkpoint_due:
                        executor.halt()
        finally:
            progress.sums.seconds += time.perf_counter() - began
        return wants_end

    def _rate_factor(self) -> float:
        return rate_factor(self._rule.schedule, self._progress.history)

    def _epoch_record(self, epoch: int, sums: EpochSums, network: Network) -> dict[str, Any]:
        """Return the record of an epoch, without its health."""
        step = self._executor.step
        measured: dict[str, Any] = {"epoch": epoch + 1, "steps": step, "train_cost": sums.mean_cost}
        if self._evaluator.classes:
            measured["train_accuracy"] = sums.right / sums.rows
        measured |= self._evaluator.measure(network)
        measured |= {"seconds": sums.seconds, "samples_per_second": sums.rows / sums.seconds}
        measured["lr"] = self._rule.rate(step - 1) * self._rate_factor()
        return {name: for_json(value) for name, value in measured.items()}

    def _checkpoint(self, state: Array) -> None:
        executor, progress = self._executor, self._progress
        recoveries = progress.recoveries_before + executor.recoveries
        self._writer.checkpoint(executor.step, state, progress.sums, recoveries, progress.health.to_json())

    def _finish(self) -> Result:
        executor, progress = self._executor, self._progress
        best = progress.early_stopping.best_weights
        network = self._evaluator.network(executor.state()[0] if best is None else best)
        summary = self._summary.of(network, self._run, progress, executor)
        try:
            self._writer.finish(network, {name: for_json(value) for name, value in summary.items()})
        except Exception as error:
            self._note_how_to_resume(error)
            raise
        self._events.checkpoints()
        return Result(network, summary, progress.history, self._writer.path)

    def _save_state(self, error: DistbpError) -> None:
        """Write a last checkpoint after an error; ignore further errors, since the first one counts."""
        executor = self._executor
        with suppress(Exception):
            if isinstance(error, DivergedError) and not self._is_explosion_recorded():
                self._writer.diverged_epoch(self._diverged_record(error))
            # after the executor has rolled back, the epoch's sums include later steps: write no checkpoint
            if executor.step >= self._callbacks.step:
                self._checkpoint(executor.state())

    def _is_explosion_recorded(self) -> bool:
        """Return whether the last epoch's record ends at this step and has a finding of an explosion."""
        last: Mapping[str, Any] = self._progress.history[-1] if self._progress.history else {"steps": None}
        findings = last.get("findings", ())
        return last["steps"] == self._executor.step and any(each["kind"] == "exploding" for each in findings)

    def _diverged_record(self, error: DivergedError) -> dict[str, Any]:
        """Return the record of an epoch that a divergence cut short."""
        step, finding = self._executor.step, Finding("exploding", error.layer, str(error))
        return {"epoch": step // self._run.steps_per_epoch + 1, "steps": step, "findings": [finding._asdict()]}

    def _note_how_to_resume(self, error: BaseException) -> None:
        """Record the failure; note from which checkpoint and by which command the run can be resumed."""
        with suppress(CallbackError):  # a callback that failed may fail again
            text = self._writer.failed(self._callbacks.step, error)
            self._events.checkpoints()
            if text is not None:
                self._callbacks.note(text)

    def _note_advice(self) -> None:
        config = self._executor.config
        rows, steps_left = min(config.batch_size, self._run.train_rows), (config.epochs - 1) * self._run.steps_per_epoch
        text = self._advice.text(config, rows, self._progress.step_seconds, steps_left)
        if text is not None:
            self._callbacks.note(text)
