"""Run a command in its own session and always end the whole session."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

PINNED_BY_THE_CONTESTANT = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SECONDS_TO_END = 30.0
"""Time limit for a session to end; Ray Train may need 20 s."""


class Finished(NamedTuple):
    """A command that ended by itself."""

    code: int
    out: str
    err: str
    seconds: float
    """Duration of the command."""


class CommandError(Exception):
    """A command failed, took too long, or gave a result that cannot be compared."""


def run(command: Sequence[str], seconds: float = 900.0, changed: Mapping[str, str] | None = None) -> Finished:
    """Run a command; no process of its session is left on return, also after an exception.

    ``changed`` holds environment variables that differ from this process's.

    Raises:
        CommandError: it took longer than ``seconds``.
    """
    return run_together([command], seconds, changed)[0]


def run_together(
    commands: Sequence[Sequence[str]], seconds: float = 900.0, changed: Mapping[str, str] | None = None
) -> list[Finished]:
    """Run commands that depend on each other, as :func:`run` does; when one fails, end the others.

    Raises:
        CommandError: they took longer than ``seconds``.
    """
    environment = {name: value for name, value in os.environ.items() if name not in PINNED_BY_THE_CONTESTANT}
    environment |= changed or {}
    deadline = time.monotonic() + seconds
    with ExitStack() as stack:
        all_started = [stack.enter_context(_started(command, environment)) for command in commands]
        # Poll as Popen.wait does: often at first, then rarely, so that polling costs nothing.
        pause = 0.0005
        while True:
            codes = [started.code() for started in all_started]
            if None not in codes or any(codes):
                return [started.finished() for started in all_started]
            if time.monotonic() > deadline:
                raise CommandError(f"no end after {seconds:.0f} s: {' '.join(commands[0])}")
            time.sleep(pause)
            pause = min(2 * pause, 0.05)


@dataclass
class _Started:
    process: subprocess.Popen[bytes]
    out: IO[str]
    err: IO[str]
    began: float
    seconds: float = 0.0

    def code(self) -> int | None:
        """Return its exit code, None while it runs; record the time when it is first seen to have ended."""
        code = self.process.poll()
        if code is not None and not self.seconds:
            self.seconds = time.perf_counter() - self.began
        return code

    def finished(self) -> Finished:
        """End it if it still runs; return its result."""
        _end(self.process)
        code = self.code()
        assert code is not None
        self.out.seek(0)
        self.err.seek(0)
        return Finished(code, self.out.read(), self.err.read(), self.seconds)


@contextmanager
def _started(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[_Started]:
    # Files, not pipes: reading a pipe would wait until the last helper process closes it.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, start_new_session=True)
        try:
            yield _Started(process, out, err, began)
        finally:
            _end(process)


def end_on_signals() -> None:
    """Make SIGTERM act as Ctrl-C."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM during cleanup."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the session, wait, and kill its remaining processes."""
    with undisturbed():
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


def _members(session: int) -> list[int]:
    """Return the living processes of a session (Linux only)."""
    if sys.platform != "linux":
        return []
    members = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # pid (name) state parent group session ..; the name may contain any character
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if fields[0] not in "ZX" and int(fields[3]) == session:
                    members.append(int(folder.name))
    return members
