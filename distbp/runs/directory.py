"""The run directory: the settings, one record per epoch, checkpoints, the model and the summary."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from distbp.errors import RunError, UsageError
from distbp.files import write_json, written_whole
from distbp.runs.records import METRICS, SUMMARY, line_of, read_metrics

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
_LOOKS, _LOOK_SECONDS = 5, 0.02


def default_run_directory(data_name: str) -> Path:
    """Return ``runs/<time>-<data>``, with a number behind it if a run began there in the same second."""
    base = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{data_name}"
    path, number = base, 2
    while path.exists():
        path = base.with_name(f"{base.name}-{number}")
        number += 1
    return path


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
def held(path: Path) -> Iterator[None]:
    """Keep other processes from writing a run into this folder, where the platform and the disk can do that.

    Raises:
        RunError: another process holds it.
    """
    if not path.is_dir():  # what is wrong with that is for others to say
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(ImportError, OSError):
            try:
                _lock(handle)
            except BlockingIOError:
                raise RunError(f"{path} is in use: another process trains there; wait for it, or end it") from None
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    """Lock the folder; who only looks whether it is locked, as ``distbp runs`` does, is done in a moment."""
    import fcntl  # which Windows has not

    for _ in range(_LOOKS):
        with suppress(BlockingIOError):
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(_LOOK_SECONDS)
    return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def state_of(path: Path) -> str:
    """Return how the run in a directory stands: ``finished``, ``going on``, or ``left`` (it may be resumed)."""
    if (path / SUMMARY).exists():
        return "finished"
    return "going on" if is_held(path) else "left"


def is_held(path: Path) -> bool:
    """Return whether a process is writing a run into this folder now, as far as the platform can tell."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        with suppress(ImportError, OSError):
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False
    finally:
        os.close(handle)


@contextmanager
def made(path: Path) -> Iterator[None]:
    """Make the folder before anything starts, and hold it for this run alone.

    If the block fails before something was written, the folder is taken away again.

    Raises:
        RunError: it cannot be made, or another process holds it.
    """
    is_new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be made: {error.strerror}") from error
    try:
        with held(path):
            yield
    except BaseException:
        if is_new:
            with suppress(OSError):  # it holds something by now
                path.rmdir()
        raise


class RunDirectory:
    """A run's directory with its settings in it, open for the records of its epochs."""

    def __init__(self, path: Path, settings: Mapping[str, Any], note: Callable[[str], None]) -> None:
        check_unused(path)
        self._open(path, settings, [], note)

    @classmethod
    def again(cls, path: Path, settings: Mapping[str, Any], epochs: int, note: Callable[[str], None]) -> Self:
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
            with written_whole(path / METRICS) as beside:
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
                    os.fsync(file.fileno())
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
