"""Run directories: making, locking and recognising them, and writing config.json, metrics.jsonl and summary.json."""

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
from distbp.runs.records import METRICS, SUMMARY, metrics_line, read_metrics

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
BEST = "best.safetensors"
"""The weights of the epoch with the lowest validation cost."""
LOCK = ".lock"
"""The lock file of the process that writes the run; see :mod:`distbp.files.locks`."""

Note = Callable[[str], None]


def silent(text: str) -> None:
    """Ignore a note."""


@contextmanager
def default_run_directory(data_name: str) -> Iterator[Path]:
    """Make ``runs/<time>-<data>`` for this run, with a number at the end if another run began in the same second.

    If the block fails, the directory is removed unless it holds files.

    Raises:
        RunError: the directory cannot be made.
    """
    base = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{data_name}"
    path, number = base, 2
    with _removing_new_folders(path.parent):
        while not _make_new(path):
            path = base.with_name(f"{base.name}-{number}")
            number += 1
        try:
            yield path
        except BaseException:
            with suppress(OSError):  # it holds files
                path.rmdir()
            raise


def _make_new(path: Path) -> bool:
    """Make a folder; return False if it exists already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileNotFoundError:  # a run that failed at this moment removed the parent
            path.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise RunError(f"{path} cannot be made: {error.strerror}") from error
    return True


@contextmanager
def _removing_new_folders(path: Path) -> Iterator[None]:
    """If the block fails, remove the folder and its parents, as far as they are new and empty."""
    new = [each for each in (path, *path.parents) if not each.exists()]
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for each in new:
                each.rmdir()
        raise


def check_unused(path: Path) -> None:
    """Check that a directory can be used for a new run.

    Raises:
        UsageError: it holds a run already, or is a file.
    """
    try:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file: --run-dir must be a folder that can be made")
        taken = (path / CONFIG).exists() or (path / SUMMARY).exists()
    except (OSError, ValueError) as error:
        raise UsageError(f"--run-dir {str(path)[:80]!r} cannot be used: {error}") from error
    if taken:
        raise UsageError(f"{path} already holds a run: choose another --run-dir, or resume it: distbp resume {path}")


@contextmanager
def lock_run(path: Path, note: Note = silent, take_over: bool = False, watch: Watch | None = None) -> Iterator[Lock]:
    """Lock a run directory, so that no other process writes to it, not even on another host.

    Args:
        path: the run directory.
        note: called if it takes a minute to see that the process that holds the lock is dead.
        take_over: take the lock even if another process holds it.
        watch: an earlier observation of the lock.

    Raises:
        HeldError: another process holds the lock.
        RunError: the directory cannot be written to.
    """
    with locked(path / LOCK, path, note, take_over=take_over, watch=watch) as lock:
        yield lock


def state_of(path: Path) -> str:
    """Return the state of a run: ``finished``, ``going on``, or ``left`` (interrupted; it may be resumed)."""
    if (path / SUMMARY).exists():
        return "finished"
    return "going on" if is_locked(path) else "left"


def is_locked(path: Path) -> bool:
    """Return whether a process seems to be writing to this run directory."""
    return holder_of(path / LOCK) is not None


def host_of(path: Path) -> str | None:
    """Return the host or container whose process writes to this run directory; None if it is this host."""
    holder = holder_of(path / LOCK)
    return None if holder is None or holder.is_local else holder.host


@contextmanager
def lock_new_run(path: Path, note: Note = silent) -> Iterator[Lock]:
    """Make a run directory and lock it.

    If the block fails, the directory is removed unless it holds files.

    Raises:
        HeldError: another process holds the lock.
        RunError: the directory cannot be made.
    """
    with _removing_new_folders(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error.strerror}") from error
        with lock_run(path, note) as lock:
            yield lock


class RunDirectory:
    """A run directory whose settings are written, ready for the records of epochs and the summary."""

    def __init__(self, path: Path, settings: Mapping[str, Any], note: Note) -> None:
        check_unused(path)
        self._open(path, settings, [], note)

    @classmethod
    def resumed(cls, path: Path, settings: Mapping[str, Any], epochs: int, note: Note) -> Self:
        """Continue a run directory after its first ``epochs`` epochs; later records are removed."""
        directory = cls.__new__(cls)
        directory._open(path, settings, read_metrics(path)[:epochs], note)
        return directory

    def _open(self, path: Path, settings: Mapping[str, Any], records: list[dict[str, Any]], note: Note) -> None:
        self.path = path
        self._note = note
        self._unwritten: list[str] = []
        try:
            (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            write_json(path / CONFIG, settings)
            with atomic_write(path / METRICS) as beside:
                beside.write_text("".join(map(metrics_line, records)), encoding="utf-8")
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error.strerror}") from error

    def write_metrics(self, record: Mapping[str, Any]) -> None:
        """Append an epoch's record and flush it to the disk; if that fails, write it together with the next one."""
        self._unwritten.append(metrics_line(record))
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
