"""A private Ray on this machine: started by a program of its own, watched, and ended as a whole."""

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
from distbp.actors.connection.failure_causes import Before, why
from distbp.errors import ClusterError, HeadLostError
from distbp.system.folders import memory_folder

_LOOK_SECONDS = 0.1
_END_SECONDS = 6.0
"""What the program may take to end Ray before it is killed itself."""
_GRACE_SECONDS = 1.0
"""What is left to a run to end by itself where one signal reached all processes, Ray's and the driver's."""
_TELLING_SECONDS = 0.5
"""After which the death of one of Ray's processes is known here."""
_ADVICE = "distbp doctor looks for the cause, --workers 0 needs no Ray"


class PrivateRay:
    """Ray's head on this machine. Whoever makes it must :meth:`end` it."""

    def __init__(self, folder: Path, cpus: int, timeout: float, environment: Mapping[str, str]) -> None:
        """Start Ray's program; nothing is waited for.

        Raises:
            ClusterError: this machine cannot start it.
        """
        refuse_no_loopback()
        self._folder = folder
        self._before = Before()
        self._lost: tuple[float, str] | None = None
        self._said = b""
        try:
            with (folder / "ray_head.log").open("wb") as log:
                self._process = subprocess.Popen(
                    # -P: the file's folder is none to import from
                    [sys.executable, "-P", ray_launcher.__file__],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                    env=dict(environment), cwd="/", start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise ClusterError(self._failed(f"could not be started: {error.strerror or error}")) from error
        asked = {"folder": str(folder), "cpus": cpus, "timeout": timeout, "memory": _plasma_folder(folder)}
        with contextlib.suppress(OSError):  # it ended already, which is seen when it is waited for
            os.write(self._stdin, json.dumps(asked).encode() + b"\n")

    @property
    def _stdin(self) -> int:
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def address(self, wait: float) -> str:
        """Wait until Ray is up; return its address. A signal's handler may end the waiting.

        Raises:
            ClusterError: it did not come up within ``wait`` seconds.
        """
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            for said in self._hear(_LOOK_SECONDS):
                if "address" in said:
                    return str(said["address"])
                raise ClusterError(self._failed(f"did not start: {said.get('failed') or said}"))
            if self._process.poll() is not None:
                how = ray_launcher.ended(self._process.returncode)
                raise ClusterError(self._failed(f"did not start: the program that starts it {how}"))
        raise ClusterError(self._failed(f"did not start within {wait:g} s (--wait)"))

    def lost(self) -> bool:
        """Return whether Ray has lost one of its processes, so that it must not be asked for anything."""
        for said in self._hear(0.0):
            if self._lost is None:
                self._lost = time.monotonic(), f"{said.get('lost', 'a part')} {said.get('why', 'failed')}"
        if self._lost is None and self._process.poll() is not None:
            self._lost = time.monotonic(), f"the program that watches it {ray_launcher.ended(self._process.returncode)}"
        return self._lost is not None

    def look(self, step: int) -> bool:
        """Return whether Ray may be asked.

        Raises:
            HeadLostError: it was lost, up to this step.
        """
        if not self.lost():
            return True
        assert self._lost is not None
        since, what = self._lost
        if time.monotonic() - since > _GRACE_SECONDS:
            raise HeadLostError(self._failed(f"was lost in step {step}: {what}"))
        return False

    def make_sure(self, step: int) -> None:
        """Wait until it is known whether Ray has died itself, which takes its actors with it.

        Raises:
            HeadLostError: it has.
        """
        known = time.monotonic() + _TELLING_SECONDS
        while not self.look(step) or time.monotonic() < known:
            time.sleep(_LOOK_SECONDS)

    def explained(self, text: str) -> str:
        """Return what happened with its cause, as far as that can be known, and what to do."""
        cause = why(self._folder, self._before)
        return f"{text}{f' ({cause})' if cause else ''}; {_ADVICE}"

    def _failed(self, text: str) -> str:
        return self.explained(f"the private Ray on this machine {text}")

    def _hear(self, seconds: float) -> list[dict[str, Any]]:
        """Return what Ray's program has said since, waiting so long for it."""
        assert self._process.stdout is not None
        if self._process.stdout.closed:
            return []
        output, news = self._process.stdout.fileno(), select.poll()  # unlike select, for any number of open files
        news.register(output, select.POLLIN)
        while news.poll(1000 * seconds):
            said = os.read(output, 65536)
            if not said:
                time.sleep(seconds)  # it has ended, which is not seen here
                break
            self._said += said
            seconds = 0.0
        *lines, self._said = self._said.split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self) -> None:
        """End all processes of this Ray, and wait for their end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self.lost()  # what was said must be known when nothing can be read any more
        self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        ray_launcher.kill_session(self._process.pid)
        self._process.wait()
        self._process.stdout.close()


def refuse_no_loopback() -> None:
    """Refuse to start Ray where this machine cannot speak to itself, which Ray would find out after half a minute.

    Raises:
        ClusterError: 127.0.0.1 cannot be listened on.
    """
    try:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise ClusterError(
            f"Ray needs 127.0.0.1, which cannot be listened on: {error.strerror}; bring up the loopback, or use "
            "--workers 0"
        ) from error


def _plasma_folder(folder: Path) -> str | None:
    """Return where Ray's store lies if it must not be in /dev/shm: that may be missing or read-only."""
    return None if memory_folder() == Path("/dev/shm") else str(folder)
