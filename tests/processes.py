"""Running the command as a user does, waiting for what it does, and finding what it left behind."""

import fcntl
import inspect
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

HANG_SECONDS = 600.0
"""The one deadline of all that tests wait for. Only a hang reaches it, however slow or busy the machine is."""

_PROGRAMS = Path(__file__).parent / "programs"
_started: list["subprocess.Popen[str]"] = []


def folders() -> set[str]:
    """Return the folders for sockets and shared memory that runs have on this machine."""
    places = {Path(tempfile.gettempdir()), Path("/tmp"), Path("/dev/shm")}
    found = {path for place in places if place.is_dir() for path in place.glob("*distbp*")}
    return {str(path) for path in found if not path.name.startswith("distbp-testbed-")}  # hosts, no runs


def leftovers() -> set[str]:
    """Return those of them that have no living owner: other runs on this machine are no concern of a test."""
    return {folder for folder in folders() if not _is_owned(Path(folder) / "owner")}


def _is_owned(lock: Path) -> bool:
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def marked(mark: str) -> dict[psutil.Process, str]:
    """Return the processes whose environment carries the mark, and their command lines."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("DISTBP_TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found[process] = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            pass
    return found


@contextmanager
def nothing_left(seconds: float = 0.0) -> Iterator[dict[str, str]]:
    """Give an environment for a command; check afterwards that no process, segment or folder of it is left.

    They may be there for ``seconds`` more (Ray's helpers see in their own time that a driver has ended), but not later;
    whatever the outcome, no process of it lives on.
    """
    before = leftovers()
    mark = uuid.uuid4().hex
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    try:
        yield {**environment, "DISTBP_TEST_MARK": mark}
        deadline = time.monotonic() + seconds
        while left := [*marked(mark).values(), *(leftovers() - before)]:
            assert time.monotonic() < deadline, f"still there after {seconds:g} s: {left}"
            time.sleep(0.05)
    finally:
        for process in marked(mark):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def start(
    arguments: Sequence[str], environment: dict[str, str] | None, folder: Path, stdin: int | None = None
) -> "subprocess.Popen[str]":
    """Start the command with its output in pipes; it lives no longer than the test."""
    return _start([sys.executable, "-m", "distbp", *arguments], environment, folder, stdin)


def start_program(
    name: str, *arguments: object, environment: dict[str, str] | None = None, folder: Path | None = None,
    stdin: int | None = None,
) -> "subprocess.Popen[str]":  # fmt: skip
    """Start one of the programs in tests/programs with its output in pipes; it lives no longer than the test."""
    return _start(program(name, *arguments), environment, folder, stdin)


def _start(
    command: list[str], environment: dict[str, str] | None, folder: Path | None, stdin: int | None = None
) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _started.append(process)
    return process


def program(name: str, *arguments: object) -> list[str]:
    """Return the command that runs one of the programs in tests/programs."""
    return [sys.executable, str(_PROGRAMS / f"{name}.py"), *map(str, arguments)]


def run_program(name: str, *arguments: object, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run one of the programs in tests/programs to its end."""
    return subprocess.run(program(name, *arguments), cwd=folder, capture_output=True, text=True, timeout=HANG_SECONDS)


def end_what_was_started() -> None:
    """End the processes that a test has started and not seen the end of, and close their pipes."""
    while _started:
        process = _started.pop()
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):  # what was written to it has no reader any more
                    pipe.close()
        process.wait()


def epochs_done(folder: Path) -> int:
    """Return how many epochs are written down in the run directory ``run`` of a folder."""
    metrics = folder / "run" / "metrics.jsonl"
    return metrics.read_text().count("\n") if metrics.exists() else 0


def ended(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Wait for the end of a process; return what it has said."""
    return process.communicate(timeout=HANG_SECONDS)


def wait_until(condition: Callable[[], object], process: "subprocess.Popen[str] | None" = None) -> None:
    """Wait until something has happened; the process that is to do it may not end before."""
    deadline = time.monotonic() + HANG_SECONDS
    while not condition():
        if process is not None and process.poll() is not None and not condition():
            raise AssertionError(f"ended before {_source_of(condition)}: {process.communicate()[1]}")
        assert time.monotonic() < deadline, f"not in {HANG_SECONDS:g} s: {_source_of(condition)}"
        time.sleep(0.01)


def _source_of(condition: Callable[[], object]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):  # of what was not written in Python
        return repr(condition)


def join(*threads: threading.Thread) -> None:
    """Wait for the end of threads."""
    for thread in threads:
        thread.join(HANG_SECONDS)
        assert not thread.is_alive(), f"thread {thread.name} has not ended in {HANG_SECONDS:g} s"
