"""A private Ray on this machine: a launcher program starts and watches it, and ends all its processes together."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distbp.actors.connection import ray_launcher
from distbp.actors.connection.failure_causes import KernelCounters, why
from distbp.errors import ClusterError, HeadLostError
from distbp.system.folders import memory_folder

_LOOK_SECONDS = 0.1
_END_SECONDS = 6.0
"""Time limit for the launcher to end Ray; after it the launcher is killed."""
_GRACE_SECONDS = 1.0
"""Time for a run to end by itself when one signal has reached all processes, Ray's and the driver's."""
_REPORT_SECONDS = 0.5
"""Within this time the launcher reports the death of one of Ray's processes."""
_ADVICE = "run distbp doctor to find the cause, or use --workers 0, which needs no Ray"


class PrivateRay:
    """A private Ray node on this machine; its creator must call :meth:`end`."""

    def __init__(self, folder: Path, cpus: int, timeout: float, environment: Mapping[str, str]) -> None:
        """Start the launcher without waiting for it.

        Raises:
            ClusterError: this machine cannot start it.
        """
        refuse_no_loopback()
        self._folder = folder
        self._before = KernelCounters()
        self._lost: tuple[float, str] | None = None
        self._output = b""
        try:
            with (folder / "ray_head.log").open("wb") as log:
                self._process = subprocess.Popen(
                    # -P: modules must not be imported from the launcher's folder
                    [sys.executable, "-P", ray_launcher.__file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=dict(environment),
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            raise ClusterError(self._failed(f"cannot be started: {error.strerror or error}")) from error
        request = {"folder": str(folder), "cpus": cpus, "timeout": timeout, "memory": _plasma_folder(folder)}
        with contextlib.suppress(OSError):  # it has already ended, which address() reports
            os.write(self._stdin, json.dumps(request).encode() + b"\n")

    @property
    def _stdin(self) -> int:
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def address(self, wait: float) -> str:
        """Wait until Ray is up; return its address. A signal handler may raise out of the wait.

        Raises:
            ClusterError: Ray did not start within ``wait`` seconds.
        """
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            for message in self._messages(_LOOK_SECONDS):
                if "address" in message:
                    return str(message["address"])
                raise ClusterError(self._failed(f"did not start: {message.get('failed') or message}"))
            if self._process.poll() is not None:
                how = ray_launcher.ended(self._process.returncode)
                raise ClusterError(self._failed(f"did not start: its launcher {how}"))
        raise ClusterError(self._failed(f"did not start within {wait:g} s (--wait)"))

    def lost(self) -> bool:
        """Return whether Ray has lost one of its processes, so that it must not be called any more."""
        for message in self._messages(0.0):
            if self._lost is None:
                self._lost = time.monotonic(), f"{message.get('lost', 'a process')} {message.get('why', 'failed')}"
        if self._lost is None and self._process.poll() is not None:
            self._lost = time.monotonic(), f"its launcher {ray_launcher.ended(self._process.returncode)}"
        return self._lost is not None

    def look(self, step: int) -> bool:
        """Return whether Ray may be called.

        Raises:
            HeadLostError: Ray was lost more than a moment ago.
        """
        if not self.lost():
            return True
        assert self._lost is not None
        lost_at, cause = self._lost
        if time.monotonic() - lost_at > _GRACE_SECONDS:
            raise HeadLostError(self._failed(f"was lost in step {step}: {cause}"))
        return False

    def make_sure(self, step: int) -> None:
        """Wait until it is certain that Ray itself is alive; if it died, its actors died with it.

        Raises:
            HeadLostError: Ray has died.
        """
        reported_by = time.monotonic() + _REPORT_SECONDS
        while not self.look(step) or time.monotonic() < reported_by:
            time.sleep(_LOOK_SECONDS)

    def explained(self, text: str) -> str:
        """Return a message followed by the probable cause, if any, and advice."""
        cause = why(self._folder, self._before)
        return f"{text}{f' ({cause})' if cause else ''}; {_ADVICE}"

    def _failed(self, text: str) -> str:
        return self.explained(f"the private Ray on this machine {text}")

    def _messages(self, seconds: float) -> list[dict[str, Any]]:
        """Return the launcher's new messages; wait up to ``seconds`` for the first."""
        assert self._process.stdout is not None
        if self._process.stdout.closed:
            return []
        stdout, poll = self._process.stdout.fileno(), select.poll()  # select.select is limited to 1024 open files
        poll.register(stdout, select.POLLIN)
        while poll.poll(1000 * seconds):
            data = os.read(stdout, 65536)
            if not data:
                time.sleep(seconds)  # the launcher has ended; the caller polls for that
                break
            self._output += data
            seconds = 0.0
        *lines, self._output = self._output.split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self) -> None:
        """End all processes of this Ray and wait until they are gone."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self.lost()  # read the last messages before the pipe closes
        self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        ray_launcher.kill_session(self._process.pid)
        self._process.wait()
        self._process.stdout.close()


def refuse_no_loopback() -> None:
    """Refuse to start Ray on a machine without a loopback interface, which Ray would notice after half a minute.

    Raises:
        ClusterError: no process can listen on 127.0.0.1.
    """
    try:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise ClusterError(
            f"Ray cannot listen on 127.0.0.1: {error.strerror}; bring up the loopback interface, or use --workers 0"
        ) from error


def _plasma_folder(folder: Path) -> str | None:
    """Return a folder for Ray's object store if /dev/shm is missing or read-only; else None."""
    return None if memory_folder() == Path("/dev/shm") else str(folder)
