"""Progress of a run: a live display if stderr is a terminal, else one line per epoch; JSON lines on stdout."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from distbp.cli.progress_state import RunProgress
from distbp.cli.progress_view import progress_lines
from distbp.cli.streams import discard_stdout, echo_stderr, is_reader_gone
from distbp.cli.tables import aligned
from distbp.parallel.step.records import StepRecord
from distbp.training.callbacks import Callback, EpochRecord, RecoveryRecord, RunRecord

if TYPE_CHECKING:
    from rich.text import Text

_FIRST_PAUSE, _SHORTEST_PAUSE = 0.1, 0.25
_PAUSE_RATIO = 400
"""Pause after a refresh of the display, as a multiple of the refresh's CPU time."""
_MOST_COLUMNS_SHOWN = 40


@contextmanager
def reading_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that draws a progress bar if stderr is a terminal, else does nothing."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _LineProgress(Callback):
    """Prints notes, a summary of the run at its start, and one line per epoch."""

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
        """Remove the progress bar of reading."""
        self._exit.close()
        self._reading = None

    def close(self) -> None:
        """Restore the terminal."""
        self.stop_reading()

    def on_note(self, text: str) -> None:
        echo_stderr(f"note: {text}")

    def on_start(self, run: RunRecord) -> None:
        self._epochs = run.config.epochs
        self.stop_reading()
        for line in column_lines(run.columns):
            echo_stderr(line)
        sizes = "-".join(str(size) for size in run.structure.sizes)
        where = f"on {run.config.workers} workers" if run.config.workers else "in this process"
        echo_stderr(
            f"{run.train_rows:,} training rows, {run.test_rows:,} test rows; {sizes} network, "
            f"{run.structure.parameter_count:,} parameters; {run.config.shards} shards {where}"
        )

    def on_epoch_end(self, record: EpochRecord) -> None:
        echo_stderr(epoch_line(record.metrics, self._epochs))


def column_lines(columns: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return a line per column of a table: its name, kind and description."""
    shown = [columns[k] for k in range(min(len(columns), _MOST_COLUMNS_SHOWN))]
    more = len(columns) - len(shown)
    lines = aligned(shown, left=True) if shown else []
    return [f"  {line}" for line in lines] + ([f"  and {more} more: see model.json"] if more else [])


def epoch_line(record: Mapping[str, Any], epochs: int) -> str:
    """Return an epoch's record as a line of text."""
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


class _LiveProgress(_LineProgress):
    """Redraws a live display of the run in place; notes scroll by above it.

    A thread of its own draws the display, so that it also updates while a step waits for a worker. The pauses between
    two refreshes keep its cost below a hundredth of a core.
    """

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.live import Live

        self._progress: RunProgress | None = None
        self._console = Console(stderr=True, highlight=False)
        self._is_ascii = not self._console.encoding.lower().startswith("utf")
        self._live = Live(console=self._console, auto_refresh=False, get_renderable=self._rendered)
        self._add_step: Callable[[StepRecord], None] = lambda record: None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._redraw, daemon=True)

    def on_note(self, text: str) -> None:
        self._print(f"note: {text}")

    def on_start(self, run: RunRecord) -> None:
        super().on_start(run)
        self._progress = RunProgress(run, step=run.step)
        self._add_step = self._progress.add_step
        self._live.start()
        self._thread.start()

    def on_step(self, record: StepRecord) -> None:
        self._add_step(record)

    def on_epoch_end(self, record: EpochRecord) -> None:
        if self._progress is not None:
            self._progress.add_epoch(record)

    def on_recovery(self, record: RecoveryRecord) -> None:
        if self._progress is not None:
            self._progress.add_recovery(record)

    def on_end(self, error: BaseException | None) -> None:
        self.close()  # the workers shut down next, which the display would show as silence

    def _print(self, text: str) -> None:
        import rich.text

        with suppress(OSError, ValueError):
            self._console.print(rich.text.Text(text), soft_wrap=not self._live.is_started)

    def _rendered(self) -> Text:
        import rich.text

        progress = self._progress
        if progress is None:
            return rich.text.Text("")
        size = self._console.size
        workers = () if progress.ended else progress.run.workers()
        lines = progress_lines(progress, size.width, size.height - 1, workers, self._is_ascii)
        return rich.text.Text("\n".join(lines), no_wrap=True, overflow="crop")

    def _redraw(self) -> None:
        pause = _FIRST_PAUSE
        while not self._ended.wait(pause):
            began = time.thread_time()
            try:
                self._live.refresh()
            except (OSError, ValueError):  # a closed terminal must not end the run
                return
            pause = max(_SHORTEST_PAUSE, _PAUSE_RATIO * (time.thread_time() - began))

    def close(self) -> None:
        """Draw the final state and restore the terminal."""
        self.stop_reading()
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._progress is not None:
            self._progress.ended = True
        with suppress(OSError, ValueError):
            self._live.stop()


class _JsonLines(Callback):
    """Prints each epoch's record on stdout as one JSON object per line; the run survives a closed stdout."""

    def on_epoch_end(self, record: EpochRecord) -> None:
        try:
            click.echo(json.dumps(record.metrics))
        except BrokenPipeError:
            if not is_reader_gone():
                raise
            discard_stdout()


@contextmanager
def progress_callbacks(quiet: bool = False, as_json: bool = False) -> Iterator[list[Callback]]:
    """Yield the callbacks that show a run's progress: a live display on a capable terminal, else lines."""
    with ExitStack() as stack:
        callbacks: list[Callback] = [_JsonLines()] if as_json else []
        if not quiet:
            is_capable = sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
            shown = _LiveProgress() if is_capable else _LineProgress()
            stack.callback(shown.close)
            callbacks.append(shown)
        yield callbacks
