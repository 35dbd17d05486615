"""The holder of a lock: the process that a lock file names, and whether it is alive."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from distbp.system.processes import process_exists

POLL_SECONDS = 0.5
"""Seconds between two reads of a lock whose heartbeat is watched."""
DEAD_AFTER_SECONDS = 60.0
"""Without a heartbeat for this many seconds, a holder on another host counts as dead."""
_LONGEST_NAME = 64
own_tokens: set[str] = set()
"""The tokens of the locks that this process holds."""


class HolderState(Enum):
    """Whether the holder of a lock is alive."""

    ALIVE = "alive"
    DEAD = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as the lock file names it."""

    host: str
    boot: str
    namespace: str
    """The namespace of process ids: containers of a host share its boot, but not this."""
    pid: int
    started: int | None
    """Start time of the process, in ticks since the boot; None if the platform does not report it."""
    token: str
    """Unique to this lock."""
    beat: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_local(self) -> bool:
        """Whether the holder's process id is valid in this process: same host, boot and namespace."""
        own = this_process()
        return (self.host, self.boot, self.namespace) == (own.host, own.boot, own.namespace)

    def as_bytes(self) -> bytes:
        """Return the lock's content. Its length does not depend on the heartbeat, so it can be rewritten in place."""
        return json.dumps(asdict(self) | {"beat": f"{self.beat:020d}"}).encode() + b"\n"

    @classmethod
    def parse(cls, content: bytes) -> Holder | None:
        """Return the holder that a lock's content names; None if it is incomplete or not a lock's."""
        try:
            fields = json.loads(content)
            texts = {name: "".join(filter(str.isprintable, fields[name]))[:_LONGEST_NAME] for name in _TEXTS}
            pid, started = fields["pid"], fields["started"]
            if not (isinstance(pid, int) and 0 < pid < 1 << 31 and isinstance(started, int | None)):
                return None
            return cls(**texts, pid=pid, started=started, beat=int(fields["beat"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


_TEXTS = ("host", "boot", "namespace", "token")


def state_of(content: bytes) -> HolderState:
    """Return whether a lock's holder is alive, as far as a single read of the lock shows."""
    holder = Holder.parse(content)
    if holder is None or not holder.is_local:
        return HolderState.UNKNOWN
    if holder.pid == os.getpid() and holder.started == _process(holder.pid)[1]:
        return HolderState.ALIVE if holder.token in own_tokens else HolderState.DEAD
    return HolderState.ALIVE if _is_running(holder.pid, holder.started) else HolderState.DEAD


class Watch:
    """Watches the heartbeat of one lock until it is known whether the holder is alive."""

    def __init__(self) -> None:
        self._content: bytes | None = None
        self._silent = self._last = 0.0

    def observe(self, content: bytes, now: float) -> HolderState:
        """Return the state that this read of the lock shows; ``now`` is in seconds of the monotonic clock."""
        state = state_of(content)
        if state is not HolderState.UNKNOWN:
            return state
        if content != self._content:
            is_first, self._content, self._silent, self._last = self._content is None, content, 0.0, now
            return HolderState.UNKNOWN if is_first else HolderState.ALIVE
        # time in which this process was stopped, or waited for the disk, does not count as silence
        self._silent += min(now - self._last, 2 * POLL_SECONDS)
        self._last = now
        return HolderState.DEAD if self._silent >= DEAD_AFTER_SECONDS else HolderState.UNKNOWN


def this_process() -> Holder:
    """Return this process as a holder, without a token."""
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    pid = os.getpid()
    return Holder(socket.gethostname()[:_LONGEST_NAME], boot, namespace, pid, _process(pid)[1], "")


def _process(pid: int) -> tuple[str, int | None]:
    """Return a process's state and start time; unknown without /proc, or if /proc hides other users' processes."""
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return words[0].decode(), int(words[19])
    except (OSError, IndexError, ValueError):
        return "", None


def _is_running(pid: int, started: int | None) -> bool:
    if not process_exists(pid):
        return False
    state, actual_start = _process(pid)
    return state not in ("Z", "X") and (actual_start is None or started is None or actual_start == started)
