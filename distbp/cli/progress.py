"""Progress of a run on stderr: a bar on a terminal, else one line per epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import click

from distbp.callbacks import Callback, EpochRecord, RunRecord
from distbp.parallel.records import StepRecord

_SECONDS_BETWEEN_UPDATES = 0.1
_MOST_COLUMNS_SHOWN = 40


def say(text: str) -> None:
    """Print on stderr; a reader that has gone away must not end a run."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True)


@contextmanager
def reading_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Return what shows how much of how much has been read: a bar on a terminal, else nothing."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines(Callback):
    """Notes as they come, and one line per epoch."""

    def __init__(self) -> None:
        self._epochs = 0
        self._exit = ExitStack()
        self._reading: Callable[[int, int], None] | None = None

    def on_reading(self, done: int, total: int) -> None:
        if self._reading is None:
            self._reading = self._exit.enter_context(reading_bar("reading"))
        self._reading(done, total)
        if done >= total:
            self.stop_reading()

    def stop_reading(self) -> None:
        """Take the bar of reading away."""
        self._exit.close()
        self._reading = None

    def on_note(self, text: str) -> None:
        say(f"note: {text}")

    def on_start(self, run: RunRecord) -> None:
        self._epochs = run.config.epochs
        self.stop_reading()
        for line in column_lines(run.columns):
            say(line)
        sizes = "-".join(str(size) for size in run.structure.sizes)
        where = f"{run.config.workers} workers" if run.config.workers else "this process"
        say(
            f"{run.train_rows} rows to train on, {run.test_rows} to test; {sizes} network of "
            f"{run.structure.parameter_count:,} parameters; {run.config.shards} shards on {where}"
        )

    def on_epoch_end(self, record: EpochRecord) -> None:
        say(epoch_line(record.metrics, self._epochs))


def column_lines(columns: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return what was found in the columns of a table, a line for each."""
    shown = [columns[k] for k in range(min(len(columns), _MOST_COLUMNS_SHOWN))]
    widths = [max((len(column[k]) for column in shown), default=0) for k in range(2)]
    lines = [f"  {name:{widths[0]}}  {kind:{widths[1]}}  {told}".rstrip() for name, kind, told in shown]
    more = len(columns) - len(shown)
    return lines + ([f"  and {more} more: see model.json"] if more else [])


def epoch_line(record: Mapping[str, Any], epochs: int) -> str:
    """Return one epoch's record as a line to read."""
    parts = [f"epoch {record['epoch']}/{epochs}"]
    for name in (
        "train_cost",
        "train_accuracy",
        "validation_cost",
        "test_cost",
        "test_accuracy",
        "test_rmse",
        "test_r2",
    ):
        if record.get(name) is not None:
            parts.append(f"{name.replace('_', ' ')} {record[name]:.4f}")
    return "  ".join([*parts, f"{record['samples_per_second']:,.0f} samples/s"])


class _Bar(_Lines):
    """A bar over all steps; the epochs' lines scroll by above it."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}  step {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(),
            TextColumn("cost {task.fields[cost]:.4f}{task.fields[accuracy]}  {task.fields[rate]:,.0f} samples/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
        )
        self._task: TaskID | None = None
        self._steps_per_epoch = 1
        self._updated = self._since = time.monotonic()
        self._rows = self._right = self._rows_since = 0
        self._cost = 0.0

    def on_note(self, text: str) -> None:
        self._progress.console.print(f"note: {text}", highlight=False)

    def on_start(self, run: RunRecord) -> None:
        super().on_start(run)
        self._steps_per_epoch = run.steps_per_epoch
        self._task = self._progress.add_task(
            "",
            total=run.config.epochs * run.steps_per_epoch,
            epoch=f"1/{run.config.epochs}",
            cost=0,
            accuracy="",
            rate=0,
        )
        self._progress.start()
        self._since = time.monotonic()

    def on_step(self, record: StepRecord) -> None:
        self._rows += record.rows
        self._rows_since += record.rows
        self._right += record.right
        self._cost += record.cost * record.rows
        now = time.monotonic()
        if now - self._updated < _SECONDS_BETWEEN_UPDATES or self._task is None:
            return
        accuracy = f"  accuracy {self._right / self._rows:.4f}" if self._right else ""
        self._progress.update(
            self._task,
            completed=record.step + 1,
            epoch=f"{record.step // self._steps_per_epoch + 1}/{self._epochs}",
            cost=self._cost / self._rows,
            accuracy=accuracy,
            rate=self._rows_since / (now - self._since),
        )
        self._progress.refresh()
        self._updated = self._since = now
        self._rows_since = 0

    def on_epoch_end(self, record: EpochRecord) -> None:
        self._progress.console.print(epoch_line(record.metrics, self._epochs), highlight=False)
        self._rows = self._right = 0
        self._cost = 0.0
        if self._task is not None:
            self._progress.update(self._task, completed=record.step, refresh=True)
        self._since = time.monotonic()

    def close(self) -> None:
        """Give the terminal back."""
        self.stop_reading()
        self._progress.stop()


@contextmanager
def make_progress() -> Iterator[Callback]:
    """Return what shows a run's progress on this stderr."""
    if sys.stderr is None or not sys.stderr.isatty():
        lines = _Lines()
        try:
            yield lines
        finally:
            lines.stop_reading()
        return
    bar = _Bar()
    try:
        yield bar
    finally:
        bar.close()
