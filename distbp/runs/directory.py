"""The run directory: the settings, one record per epoch, checkpoints, the model and the summary."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from distbp.errors import RunError, UsageError
from distbp.files.atomic import atomic_write, flush
from distbp.files.json_files import write_json
from distbp.files.locks import Lock, Watch, holder_of, locked
from distbp.runs.records import METRICS, SUMMARY, line_of, read_metrics

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
BEST = "best.safetensors"
"""The weights of the epoch with the lowest validation cost."""
LOCK = ".lock"
"""There as long as a process writes the run; see :mod:`distbp.files.locks`."""

Note = Callable[[str], None]


def silent(text: str) -> None:
    """Drop what should be noted."""


@contextmanager
def claimed(data_name: str) -> Iterator[Path]:
    """Make ``runs/<time>-<data>`` for one run alone, with a number behind it if another run began in the same second.

    If the block fails before something was written, the folder is taken away again.

    Raises:
        RunError: it cannot be made.
    """
    base = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{data_name}"
    path, number = base, 2
    with _new_folders_removed(path.parent):
        while not _is_made(path):
            path = base.with_name(f"{base.name}-{number}")
            number += 1
        try:
            yield path
        except BaseException:
            with suppress(OSError):  # it holds something by now
                path.rmdir()
            raise


def _is_made(path: Path) -> bool:
    """Make a folder; return False if it is there already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileNotFoundError:  # a run that failed at this moment has taken the folder of all runs away
            path.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise RunError(f"{path} cannot be made: {error.strerror}") from error
    return True


@contextmanager
def _new_folders_removed(path: Path) -> Iterator[None]:
    """Take a folder and those above it away if the block fails, as far as they were not there before and are empty."""
    new = [each for each in (path, *path.parents) if not each.exists()]
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for each in new:
                each.rmdir()
        raise


def check_unused(path: Path) -> None:
    """Refuse a run directory that already holds a run, or that is no folder.

    Raises:
        UsageError: it does.
    """
    try:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file: --run-dir must be a folder that can be made")
        taken = (path / CONFIG).exists() or (path / SUMMARY).exists()
    except (OSError, ValueError) as error:
        raise UsageError(f"--run-dir {str(path)[:80]!r} cannot be used: {error}") from error
    if taken:
        raise UsageError(f"{path} already holds a run: choose another --run-dir, or go on with distbp resume {path}")


@contextmanager
def held(path: Path, note: Note = silent, take_over: bool = False, watch: Watch | None = None) -> Iterator[Lock]:
    """Keep other processes, also those of other hosts, from writing a run into this folder.

    Args:
        path: the folder.
        note: told if it takes a minute to see that the process that holds it is dead.
        take_over: let the folder be this process's, whoever holds it.
        watch: what has watched the folder's lock before.

    Raises:
        HeldError: another process holds it.
        RunError: it cannot be written to.
    """
    with locked(path / LOCK, path, note, take_over=take_over, watch=watch) as lock:
        yield lock


def state_of(path: Path) -> str:
    """Return how the run in a directory stands: ``finished``, ``going on``, or ``left`` (it may be resumed)."""
    if (path / SUMMARY).exists():
        return "finished"
    return "going on" if is_held(path) else "left"


def is_held(path: Path) -> bool:
    """Return whether a process is writing a run into this folder now, as far as one look can tell."""
    return holder_of(path / LOCK) is not None


def host_of(path: Path) -> str | None:
    """Return the other host, or container, whose process writes a run into this folder; None for this one."""
    holder = holder_of(path / LOCK)
    return None if holder is None or holder.is_local else holder.host


@contextmanager
def made(path: Path, note: Note = silent) -> Iterator[Lock]:
    """Make the folder before anything starts, and hold it for this run alone.

    If the block fails before something was written, the folder is taken away again.

    Raises:
        HeldError: another process holds it.
        RunError: it cannot be made.
    """
    with _new_folders_removed(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error.strerror}") from error
        with held(path, note) as lock:
            yield lock


class RunDirectory:
    """A run's directory with its settings in it, open for the records of its epochs."""

    def __init__(self, path: Path, settings: Mapping[str, Any], note: Callable[[str], None]) -> None:
        check_unused(path)
        self._open(path, settings, [], note)

    @classmethod
    def resumed(cls, path: Path, settings: Mapping[str, Any], epochs: int, note: Callable[[str], None]) -> Self:
        """Go on with a run's directory, cut back to its first ``epochs`` epochs."""
        directory = cls.__new__(cls)
        directory._open(path, settings, read_metrics(path)[:epochs], note)
        return directory

    def _open(
        self, path: Path, settings: Mapping[str, Any], records: list[dict[str, Any]], note: Callable[[str], None]
    ) -> None:
        self.path = path
        self._note = note
        self._unwritten: list[str] = []
        try:
            (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            write_json(path / CONFIG, settings)
            with atomic_write(path / METRICS) as beside:
                beside.write_text("".join(map(line_of, records)), encoding="utf-8")
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error.strerror}") from error

    def write_metrics(self, record: Mapping[str, Any]) -> None:
        """Append one epoch's record and flush it to the disk; if that fails, try again with the next one."""
        self._unwritten.append(line_of(record))
        path = self.path / METRICS
        try:
            with path.open("r+b") as file:
                end = file.seek(0, os.SEEK_END)
                try:
                    file.write("".join(self._unwritten).encode())
                    file.flush()
                    flush(file.fileno())
                except OSError:
                    with suppress(OSError):
                        os.truncate(path, end)
                    raise
        except OSError as error:
            if len(self._unwritten) == 1:
                self._note(f"{path} cannot be written: {error.strerror}; the run goes on")
            return
        self._unwritten.clear()

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, which marks the run as finished."""
        write_json(self.path / SUMMARY, summary)
