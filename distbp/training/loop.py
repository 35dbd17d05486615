"""The descent: the algorithm on one page, whoever computes the steps and wherever the run is kept."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

import numpy as np

from distbp.config import Settings
from distbp.data.dataset import PIXEL_FACTOR, Array, DataSet
from distbp.data.epoch_order import EpochOrder
from distbp.errors import CallbackError, DistbpError, DivergedError, Interrupted
from distbp.files.json_files import for_json
from distbp.model.files import weights_sha256
from distbp.model.network import Network, evaluate
from distbp.nn.structure import Structure
from distbp.optim import Rule
from distbp.parallel.step.executor import ManagedExecutor
from distbp.runs.saved import SavedRun
from distbp.runs.sums import Sums
from distbp.runs.writer import RunWriter
from distbp.training.callbacks import Callback, Callbacks, CheckpointRecord, EpochRecord, RecoveryRecord, RunRecord
from distbp.training.early_stopping import best_epoch, is_best_long_ago, rate_factor
from distbp.training.executors import most_useful_workers, slower_choice
from distbp.training.health import Finding, Health
from distbp.training.result import Result, named

_STEPS_FOR_THE_MEDIAN = 10_000
_ROWS_EXAMINED = 1024
"""Rows of the test part on which saturated and dead units are counted."""


class TrainingLoop:
    """One run: its steps, its records so far, and where they are kept."""

    def __init__(self, structure: Structure, config: Settings, data: DataSet, callbacks: Sequence[Callback]) -> None:
        self.structure, self.config = structure, config
        self.test, self.classes, self.preprocessing = data.test, data.classes, data.preprocessing
        self.byte_factor = data.train.factor if data.train.x.dtype == np.uint8 else PIXEL_FACTOR
        self.train_rows = len(data.train)
        self.keeper: RunWriter | None = None
        self.callbacks = Callbacks(callbacks)
        self._last_note, self._seen_recoveries = "", 0
        self.steps_per_epoch = EpochOrder.of(config, self.train_rows).steps_per_epoch
        self.history: list[Mapping[str, Any]] = []
        self.recoveries = 0
        """Of the processes that did this run's steps before."""
        self.sums = Sums()
        self.health = Health()
        self.best: Array | None = None
        """The weights of the epoch with the lowest validation cost, for early stopping."""
        self.examined = np.asarray(data.test.x[:_ROWS_EXAMINED])
        self.validation = data.validation
        self.rule = Rule.of(config, self.steps_per_epoch)
        self._told: set[str] = set()
        self.baselines: Mapping[str, Any] = {}
        """How a constant and a linear model do on the test rows."""
        self.step_seconds: deque[float] = deque(maxlen=_STEPS_FOR_THE_MEDIAN)
        self.chosen = config.workers != "auto"
        self.step_here: float | None = None
        """Seconds per step in this process, where workers compute though nobody measured whether they should."""

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * self.steps_per_epoch

    def note(self, text: str) -> None:
        """Tell the callbacks what the user should know."""
        self._last_note = text
        self.callbacks.tell("on_note", text)

    def go_on(self, past: SavedRun) -> None:
        """Begin where a run was left."""
        step, described = past.checkpoint.step, past.checkpoint.described
        self.recoveries = described["recoveries"] + 1
        self.sums = Sums(described["epoch"])
        self.health = Health(described.get("health"))
        epochs = past.epochs(self.steps_per_epoch)
        self.best = past.best(epochs, self.config)
        self.history = past.history(epochs, self.config)
        if len(self.history) < epochs:
            self.note(f"{past.path} has the records of {len(self.history)} epochs of {epochs}; the run goes on without")
        self.note(f"{past.path} goes on after step {step} of {self.steps}")

    def descend(self, pool: ManagedExecutor) -> None:
        """Do all steps that are left of all epochs."""
        columns = self.preprocessing.described() if self.preprocessing is not None else ()
        begin = RunRecord(
            self.config, self.structure, self.train_rows, len(self.test), self.steps_per_epoch,
            self.keeper.path if self.keeper else None, pool.step, columns, pool.workers,
        )  # fmt: skip
        self.callbacks.step = pool.step
        self.callbacks.tell("on_start", begin)
        try:
            if pool.step == 0:
                state = pool.state()
                self.health.begin(self.structure, state[0])
                self._checkpoint(pool, state)
            first = pool.step // self.steps_per_epoch
            if pool.step % self.steps_per_epoch == 0 and self.sums.rows:
                first -= 1  # its steps are done, but the run ended before its end was seen to
            for epoch in range(first, self.config.epochs):
                if self._epoch(epoch, pool) or is_best_long_ago(self.history, self.config.early_stopping):
                    break
        except BaseException as error:
            if isinstance(error, DistbpError):
                self._keep_what_there_is(pool, error)
            self._say_how_to_go_on(error)
            raise

    def _keep_what_there_is(self, pool: ManagedExecutor, error: DistbpError) -> None:
        """Write a last checkpoint for a run that an error ends; the first error is the one that counts."""
        with suppress(Exception):
            if isinstance(error, DivergedError) and self.keeper is not None and not self._is_told(pool.step):
                self.keeper.diverged(self._diverged(error, pool))
            if pool.step >= self.callbacks.step:  # else the state is one that was kept before, with the sums of then
                self._checkpoint(pool, pool.state())

    def _say_how_to_go_on(self, error: BaseException) -> None:
        """Note what of the run is on the disk, and how to go on from there."""
        if self.keeper is not None:
            with suppress(CallbackError):  # one that fails once may fail again
                text = self.keeper.ended(self.callbacks.step, error)
                self._tell_checkpoints()
                if text is not None:
                    self.note(text)

    def _epoch(self, epoch: int, pool: ManagedExecutor) -> bool:
        """Do what is left of an epoch; return whether a callback wants it to be the last."""
        stop = (epoch + 1) * self.steps_per_epoch
        before = self.sums.seconds
        if self.keeper is not None:
            self.keeper.begin_epoch(pool.spent())
        while pool.step < stop:
            if self._steps(stop, pool, rate_factor(self.rule.schedule, self.history)):
                raise Interrupted(f"interrupted in epoch {epoch + 1}")
            if pool.step < stop:
                self._checkpoint(pool, pool.state())
        rate = self.rule.rate(pool.step - 1) * rate_factor(self.rule.schedule, self.history)
        sums, self.sums = self.sums, Sums()
        if epoch == 0 and self.chosen and self.step_seconds:
            self._tell_slower_choice()
        state = pool.state()
        network = self._network(state[0])
        measured: dict[str, Any] = {"epoch": epoch + 1, "steps": pool.step, "train_cost": sums.mean_cost}
        if self.classes:
            measured["train_accuracy"] = sums.right / sums.rows
        measured |= named("test", evaluate(network, self.test))
        if self.validation is not None:
            measured |= named("validation", evaluate(network, self.validation))
        measured |= {"seconds": sums.seconds, "samples_per_second": sums.rows / sums.seconds, "lr": rate}
        record = {name: for_json(value) for name, value in measured.items()}
        health, exploded = self.health.examine(network, sums, pool.step - 1, self.examined)
        record |= for_json(health)
        self.history.append(record)
        if self.keeper is not None:
            self.keeper.end_epoch(record, sums.seconds - before, pool.spent())
        self._keep_best(state[0])
        self._tell(record["findings"])
        if exploded is not None:
            raise exploded
        self._checkpoint(pool, state)
        return self.callbacks.tell("on_epoch_end", EpochRecord(epoch + 1, pool.step, record, network))

    def _keep_best(self, weights: Array) -> None:
        if self.config.early_stopping is not None and best_epoch(self.history) == self.history[-1]["epoch"]:
            self.best = weights.copy()
            if self.keeper is not None:
                self.keeper.best(self.best)

    def _tell(self, found: Sequence[Mapping[str, Any]]) -> None:
        """Tell the first finding of each kind, not those of all layers again in every epoch."""
        for finding in found:
            if finding["kind"] not in self._told:
                self._told.add(finding["kind"])
                self.note(finding["text"])

    def _is_told(self, step: int) -> bool:
        """Return whether the last epoch's record is of this step and tells of an explosion."""
        last: Mapping[str, Any] = self.history[-1] if self.history else {}
        return any(each["kind"] == "exploding" for each in last.get("findings", ())) and last["steps"] == step

    def _diverged(self, error: DivergedError, pool: ManagedExecutor) -> dict[str, Any]:
        """Return the record of an epoch that came to no end."""
        finding = Finding("exploding", error.layer, str(error))._asdict()
        return {"epoch": pool.step // self.steps_per_epoch + 1, "steps": pool.step, "findings": [finding]}

    def _steps(self, stop: int, pool: ManagedExecutor, factor: float) -> bool:
        """Do steps until ``stop``, or until a checkpoint is due; return whether a callback wants the run to end."""
        began = time.perf_counter()
        wants_end = False
        try:
            with closing(pool.steps(stop, factor)) as records:
                for record in records:
                    self.step_seconds.append(record.seconds)
                    self.sums.add(record)
                    self.health.see(record)
                    if self.keeper is not None:
                        self.keeper.step(record)
                    self.callbacks.step = record.step + 1
                    wants_end = self.callbacks.tell("on_step", record) or wants_end
                    self._tell_news(pool)
                    if wants_end or (self.keeper is not None and self.keeper.is_due):
                        pool.halt()
        finally:
            self.sums.seconds += time.perf_counter() - began
        return wants_end

    def _tell_news(self, pool: ManagedExecutor) -> None:
        """Tell of who was lost and of what was written since the last step."""
        if pool.recoveries > self._seen_recoveries:
            self._seen_recoveries = pool.recoveries
            lost = self.recoveries + pool.recoveries
            if self.keeper is not None:
                self.keeper.timeline.recovery(self.callbacks.step, self._last_note)
            self.callbacks.tell("on_recovery", RecoveryRecord(self.callbacks.step, self._last_note, lost))
        self._tell_checkpoints()

    def _tell_checkpoints(self) -> None:
        for step, path in self.keeper.written() if self.keeper is not None else ():
            self.callbacks.tell("on_checkpoint", CheckpointRecord(step, path))

    def _tell_slower_choice(self) -> None:
        """Tell a person who chose the number of workers if another one would be clearly quicker."""
        step = statistics.median(self.step_seconds)
        here = self.step_here if self.config.workers else step
        if here is not None:
            rows, left = min(self.config.batch_size, self.train_rows), self.steps - self.steps_per_epoch
            useful = most_useful_workers(self.config, rows)
            text = slower_choice(self.config, rows, useful, here, step, left)
            if text is not None:
                self.note(text)

    def _network(self, weights: Array) -> Network:
        return Network.of(self.structure, weights, self.classes, self.byte_factor, self.preprocessing)

    def _checkpoint(self, pool: ManagedExecutor, state: Array) -> None:
        if self.keeper is not None:
            recoveries = self.recoveries + pool.recoveries
            self.keeper.checkpoint(pool.step, state, self.sums, recoveries, self.health.to_json())

    def finish(self, pool: ManagedExecutor, started: float) -> Result:
        """Return the trained network and write what a finished run leaves behind."""
        network = self._network(pool.state()[0] if self.best is None else self.best)
        config = self.config
        seconds = sum(record["seconds"] for record in self.history)
        last = self.history[-1] if self.history else {}  # the record may have been lost with a disk
        if self.best is not None:
            best = best_epoch(self.history)
            last = next(record for record in self.history if record["epoch"] == best)
        summary = {
            **{name: last[name] for name in last if name.startswith(("train_", "test_", "validation_"))},
            **({} if self.best is None else {"best_epoch": last["epoch"]}),
            **self.baselines,
            "epochs": pool.step // self.steps_per_epoch,
            "steps": pool.step,
            "workers": config.worker_count,
            "shards": config.shards,
            "threads": config.threads,
            "seed": config.seed,
            "samples_per_second": self.train_rows * len(self.history) / seconds if seconds else math.nan,
            "step_ms": 1000 * statistics.median(self.step_seconds or [math.nan]),
            "wall_seconds": time.perf_counter() - started,
            "recoveries": self.recoveries + pool.recoveries,
            "weights_sha256": weights_sha256(network.weights),
        }
        if self.keeper is not None:
            try:
                self.keeper.finish(network, {name: for_json(value) for name, value in summary.items()})
            except Exception as error:
                self._say_how_to_go_on(error)
                raise
            self._tell_checkpoints()
        return Result(network, summary, self.history, self.keeper.path if self.keeper else None)
