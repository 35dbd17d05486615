"""Run the command as a user does, wait for events, and find what it left behind."""

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
    """Return the folders for sockets and shared memory that runs have made on this machine."""
    places = {Path(tempfile.gettempdir()), Path("/tmp"), Path("/dev/shm")}
    found = {path for place in places if place.is_dir() for path in place.glob("*distbp*")}
    return {str(path) for path in found if not path.name.startswith("distbp-testbed-")}  # hosts, no runs


def leftovers() -> set[str]:
    """Return those folders that no live process owns; other runs on this machine do not concern a test."""
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
    """Return the processes whose environment carries the mark, with their command lines."""
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
    """Yield an environment for a command; afterwards check that no process, segment or folder of it is left.

    They may remain for ``seconds`` more, since Ray's helper processes notice late that a driver has ended. Whatever the
    outcome, all of its processes are ended.
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
    """Start the command with its output in pipes; it is killed when the test ends."""
    return _start([sys.executable, "-m", "distbp", *arguments], environment, folder, stdin)


def start_program(
    name: str,
    *arguments: object,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    stdin: int | None = None,
) -> "subprocess.Popen[str]":
    """Start a program of tests/programs with its output in pipes; it is killed when the test ends."""
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
    """Return the command line of a program in tests/programs."""
    return [sys.executable, str(_PROGRAMS / f"{name}.py"), *map(str, arguments)]


def run_program(name: str, *arguments: object, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a program of tests/programs to its end."""
    return subprocess.run(program(name, *arguments), cwd=folder, capture_output=True, text=True, timeout=HANG_SECONDS)


def end_what_was_started() -> None:
    """Kill the processes that a test has started and not waited for, and close their pipes."""
    while _started:
        process = _started.pop()
        process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):  # its reader is gone
                    pipe.close()
        process.wait()


def epochs_done(folder: Path) -> int:
    """Return how many epochs are recorded in the run directory ``run`` of a folder."""
    metrics = folder / "run" / "metrics.jsonl"
    return metrics.read_text().count("\n") if metrics.exists() else 0


def ended(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Wait for the end of a process; return its stdout and stderr."""
    return process.communicate(timeout=HANG_SECONDS)


def wait_until(condition: Callable[[], object], process: "subprocess.Popen[str] | None" = None) -> None:
    """Wait until a condition holds; fail if the process that should bring it about ends first."""
    deadline = time.monotonic() + HANG_SECONDS
    while not condition():
        if process is not None and process.poll() is not None and not condition():
            raise AssertionError(f"ended before {_source_of(condition)}: {process.communicate()[1]}")
        assert time.monotonic() < deadline, f"not in {HANG_SECONDS:g} s: {_source_of(condition)}"
        time.sleep(0.01)


def _source_of(condition: Callable[[], object]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):  # a function without Python source
        return repr(condition)


def join(*threads: threading.Thread) -> None:
    """Wait for threads to end."""
    for thread in threads:
        thread.join(HANG_SECONDS)
        assert not thread.is_alive(), f"thread {thread.name} has not ended in {HANG_SECONDS:g} s"
