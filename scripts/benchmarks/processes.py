"""Run a command in a session of its own and leave nothing of it behind, whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PINNED_BY_THE_CONTESTANT = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SECONDS_TO_END = 30.0
"""Ray Train may need 20."""


class Finished(NamedTuple):
    """A command that has ended by itself."""

    code: int
    out: str
    err: str
    seconds: float
    """From its start to its end."""


class CommandError(Exception):
    """A command failed, took too long or gave what cannot be compared."""


def run(command: Sequence[str], seconds: float = 900.0) -> Finished:
    """Run a command; on return, also by an exception, no process of its session is left.

    Raises:
        CommandError: it took longer than ``seconds``.
    """
    environment = {name: value for name, value in os.environ.items() if name not in PINNED_BY_THE_CONTESTANT}
    # Files, not pipes: a pipe would be read until the last helper process has closed it.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, start_new_session=True)
        try:
            code = process.wait(seconds)
            taken = time.perf_counter() - began
        except subprocess.TimeoutExpired:
            raise CommandError(f"no end after {seconds:.0f} s: {' '.join(command)}") from None
        finally:
            _end(process)
        out.seek(0)
        err.seek(0)
        return Finished(code, out.read(), err.read(), taken)


def end_on_signals() -> None:
    """Let SIGTERM do what Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask, wait, and kill what is left of the session."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        deadline = time.monotonic() + _SECONDS_TO_END
        while (process.poll() is None or _members(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        # Ray gives its workers process groups of their own, but they stay in the session.
        for member in _members(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _members(session: int) -> list[int]:
    """Return the living processes of a session; only Linux tells."""
    if sys.platform != "linux":
        return []
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # pid (name) state parent group session ..; the name may hold anything
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if fields[0] not in "ZX" and int(fields[3]) == session:
                    found.append(int(folder.name))
    return found
