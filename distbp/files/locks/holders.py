"""What a lock says of the process that holds it, and whether that process lives."""

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
"""How often a heartbeat is watched."""
DEAD_AFTER_SECONDS = 60.0
"""After so long without a heartbeat a holder elsewhere counts as dead."""
_LONGEST_NAME = 64
own_tokens: set[str] = set()
"""The tokens of the locks that this process holds."""


class HolderState(Enum):
    """Whether a lock's holder lives."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Holder:
    """What a lock says of the process that holds it."""

    host: str
    boot: str
    namespace: str
    """Of process ids: containers share a boot, not this."""
    pid: int
    started: int | None
    """When the process started, in ticks since the boot; None where the platform does not tell."""
    token: str
    """Different for every lock that was ever taken."""
    beat: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_local(self) -> bool:
        """Whether the holder's process ids are those of this process."""
        me = myself()
        return (self.host, self.boot, self.namespace) == (me.host, me.boot, me.namespace)

    def as_bytes(self) -> bytes:
        """Return the lock's content; its length does not depend on the beat, so that it can be rewritten in place."""
        return json.dumps(asdict(self) | {"beat": f"{self.beat:020d}"}).encode() + b"\n"

    @classmethod
    def parse(cls, content: bytes) -> Holder | None:
        """Return what a lock says; None if it was not written whole, or by another program."""
        try:
            found = json.loads(content)
            texts = {name: "".join(filter(str.isprintable, found[name]))[:_LONGEST_NAME] for name in _TEXTS}
            pid, started = found["pid"], found["started"]
            if not (isinstance(pid, int) and 0 < pid < 1 << 31 and isinstance(started, int | None)):
                return None
            return cls(**texts, pid=pid, started=started, beat=int(found["beat"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


_TEXTS = ("host", "boot", "namespace", "token")


def standing_of(content: bytes) -> HolderState:
    """Return whether a lock's holder lives, as far as one look can tell."""
    holder = Holder.parse(content)
    if holder is None or not holder.is_local:
        return HolderState.UNKNOWN
    if holder.pid == os.getpid() and holder.started == _process(holder.pid)[1]:
        return HolderState.ALIVE if holder.token in own_tokens else HolderState.GONE
    return HolderState.ALIVE if _is_running(holder.pid, holder.started) else HolderState.GONE


class Watch:
    """Looks at one lock again and again, until it is known whether the holder lives."""

    def __init__(self) -> None:
        self._content: bytes | None = None
        self._silent = self._last = 0.0

    def look(self, content: bytes, now: float) -> HolderState:
        """Return what is known at this look; ``now`` in seconds of this process's monotonic clock."""
        standing = standing_of(content)
        if standing is not HolderState.UNKNOWN:
            return standing
        if content != self._content:
            is_first, self._content, self._silent, self._last = self._content is None, content, 0.0, now
            return HolderState.UNKNOWN if is_first else HolderState.ALIVE
        # a reader that was stopped itself, or waited for the disk, has not watched meanwhile
        self._silent += min(now - self._last, 2 * POLL_SECONDS)
        self._last = now
        return HolderState.GONE if self._silent >= DEAD_AFTER_SECONDS else HolderState.UNKNOWN


def myself() -> Holder:
    """Return what a lock of this process says, but for its token."""
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    pid = os.getpid()
    return Holder(socket.gethostname()[:_LONGEST_NAME], boot, namespace, pid, _process(pid)[1], "")


def _process(pid: int) -> tuple[str, int | None]:
    """Return a process's state and start; unknown where there is no /proc, or it hides other users' processes."""
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return words[0].decode(), int(words[19])
    except (OSError, IndexError, ValueError):
        return "", None


def _is_running(pid: int, started: int | None) -> bool:
    if not process_exists(pid):
        return False
    state, now_started = _process(pid)
    return state not in ("Z", "X") and (now_started is None or started is None or now_started == started)
