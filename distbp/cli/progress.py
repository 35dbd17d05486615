"""Progress of a run on stderr: a picture that stays on a terminal, else one line per epoch."""

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

from distbp.cli.progress_view import View
from distbp.cli.streams import forget_stdout, is_reader_gone, say
from distbp.parallel.step.records import StepRecord
from distbp.training.callbacks import Callback, EpochRecord, RecoveryRecord, RunRecord

if TYPE_CHECKING:
    from rich.text import Text

_FIRST_PAUSE, _SHORTEST_PAUSE = 0.1, 0.25
_PAUSES = 400
"""How many times the processor time of a picture passes before the next one."""
_MOST_COLUMNS_SHOWN = 40


@contextmanager
def reading_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Return what shows how much of how much has been read: a bar on a terminal, else nothing."""
    if not sys.stderr.isatty():
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

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.stop_reading()

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


class _Live(_Lines):
    """A picture of the run that stays where it is; notes scroll by above it.

    It is drawn by a thread of its own, so that it goes on while steps wait for somebody, and seldom enough to take less
    than a hundredth of a core from the steps.
    """

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.live import Live

        self._view: View | None = None
        self._console = Console(stderr=True, highlight=False)
        self._is_ascii = not self._console.encoding.lower().startswith("utf")
        self._live = Live(console=self._console, auto_refresh=False, get_renderable=self._picture)
        self._see: Callable[[StepRecord], None] = lambda record: None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def on_note(self, text: str) -> None:
        self._print(f"note: {text}")

    def on_start(self, run: RunRecord) -> None:
        super().on_start(run)
        self._view = View(run, step=run.step)
        self._see = self._view.see
        self._live.start()
        self._thread.start()

    def on_step(self, record: StepRecord) -> None:
        self._see(record)

    def on_epoch_end(self, record: EpochRecord) -> None:
        if self._view is not None:
            self._view.see_epoch(record)

    def on_recovery(self, record: RecoveryRecord) -> None:
        if self._view is not None:
            self._view.recoveries, self._view.lost_in = record.recoveries, record.step

    def on_end(self, error: BaseException | None) -> None:
        self.close()  # the workers end from here on, which is nothing to look at

    def _print(self, text: str) -> None:
        import rich.text

        with suppress(OSError, ValueError):
            self._console.print(rich.text.Text(text), soft_wrap=not self._live.is_started)

    def _picture(self) -> Text:
        import rich.text

        view = self._view
        if view is None:
            return rich.text.Text("")
        size = self._console.size
        workers = () if view.ended else view.run.workers()
        lines = view.lines(size.width, size.height - 1, workers, self._is_ascii)
        return rich.text.Text("\n".join(lines), no_wrap=True, overflow="crop")

    def _draw(self) -> None:
        pause = _FIRST_PAUSE
        while not self._ended.wait(pause):
            began = time.thread_time()
            try:
                self._live.refresh()
            except (OSError, ValueError):  # the terminal has gone, which must not end the run
                return
            pause = max(_SHORTEST_PAUSE, _PAUSES * (time.thread_time() - began))

    def close(self) -> None:
        """Draw the end, and give the terminal back."""
        self.stop_reading()
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._view is not None:
            self._view.ended = True
        with suppress(OSError, ValueError):
            self._live.stop()


class _JsonLines(Callback):
    """Prints each epoch's record on stdout, a JSON object on a line, as soon as it is there.

    The run does not depend on a reader that has seen enough.
    """

    def on_epoch_end(self, record: EpochRecord) -> None:
        try:
            click.echo(json.dumps(record.metrics))
        except BrokenPipeError:
            if not is_reader_gone():
                raise
            forget_stdout()


@contextmanager
def make_progress(quiet: bool = False, as_json: bool = False) -> Iterator[list[Callback]]:
    """Return what shows a run's progress: a picture if stderr is a terminal that can draw, else lines."""
    with ExitStack() as stack:
        told: list[Callback] = [_JsonLines()] if as_json else []
        if not quiet:
            can_draw = sys.stderr.isatty()
            shown = _Live() if can_draw and os.environ.get("TERM", "") not in ("", "dumb", "unknown") else _Lines()
            stack.callback(shown.close)
            told.append(shown)
        yield told
