"""Running the command as a user does, and finding what it left behind."""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

RAYS_OWN_SECONDS = 10.0
"""What Ray's helpers may take to see that their driver has ended, where a program has started Ray by itself."""


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


def marked(mark: str) -> list[str]:
    """Return the command lines of the processes whose environment carries the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("DISTBP_TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            pass
    return found


@contextmanager
def nothing_left(seconds: float = 0.0) -> Iterator[dict[str, str]]:
    """Give an environment for a command; check afterwards that no process, segment or folder of it is left.

    They may be there for ``seconds`` more, but not later.
    """
    before = leftovers()
    mark = uuid.uuid4().hex
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    yield {**environment, "DISTBP_TEST_MARK": mark}
    deadline = time.monotonic() + seconds
    while left := [*marked(mark), *(leftovers() - before)]:
        assert time.monotonic() < deadline, f"still there after {seconds:g} s: {left}"
        time.sleep(0.05)


def start(arguments: list[str], environment: dict[str, str], folder: Path) -> "subprocess.Popen[str]":
    """Start the command with its output in pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "distbp", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Wait until the running command has done something; pytest's timeout is the deadline."""
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
