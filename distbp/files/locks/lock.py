"""Locks: acquired, kept alive by a heartbeat, released, and broken if their holder is dead."""

from __future__ import annotations

import os
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from distbp.errors import HeldError, LostError, RunError
from distbp.files.locks.holders import (
    DEAD_AFTER_SECONDS,
    POLL_SECONDS,
    Holder,
    HolderState,
    Watch,
    own_tokens,
    state_of,
    this_process,
)

_HEARTBEAT_SECONDS = 3.0
_LARGEST = 4096

Note = Callable[[str], None]


class Lock:
    """A lock that this process holds, until :meth:`release`."""

    def __init__(self, path: Path, what: Path) -> None:
        self.path, self.what = path.absolute(), what
        self._holder = replace(this_process(), token=uuid.uuid4().hex)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_lost = False
        """Whether the heartbeat has noticed that the lock was removed or taken over."""

    @property
    def token(self) -> str:
        """Unique to this lock."""
        return self._holder.token

    def create(self, path: Path | None = None) -> None:
        """Create the lock file.

        Raises:
            FileExistsError: there is a lock already.
        """
        file = path or self.path
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            os.write(handle, self._holder.as_bytes())
        except OSError:
            with suppress(OSError):
                file.unlink()
            raise
        finally:
            os.close(handle)
        own_tokens.add(self.token)

    def replace(self) -> None:
        """Replace another lock by this one, atomically."""
        temporary = self.path.with_name(f"{self.path.name}.{self.token}")
        self.create(temporary)
        try:
            temporary.replace(self.path)
        finally:
            with suppress(OSError):
                temporary.unlink()

    def start(self) -> None:
        """Start the heartbeat."""
        self._thread = threading.Thread(target=self._run, name="distbp-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Check that this process still holds the lock.

        Raises:
            LostError: it does not; the process must not write any more.
        """
        try:
            holder = Holder.parse(read_lock(self.path))
        except FileNotFoundError:
            self.is_lost = True
            gone = "its lock" if self.what.is_dir() else "it"
            raise LostError(f"{self.what} is no longer this process's: {gone} was removed meanwhile") from None
        except OSError:  # a disk error does not mean that the lock is lost
            return
        if holder is not None and holder.token != self.token:
            self.is_lost = True
            raise LostError(f"{self.what} was taken over by {holder}: this process ends and writes nothing more there")

    def release(self) -> None:
        """Remove the lock file, if it is still this process's."""
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_HEARTBEAT_SECONDS)
        if self._holder.pid != os.getpid():  # a forked child does not hold the lock
            return
        own_tokens.discard(self.token)
        with suppress(OSError):
            holder = Holder.parse(read_lock(self.path))
            if holder is not None and holder.token == self.token:
                self.path.unlink()

    def _run(self) -> None:
        while not self._ended.wait(_HEARTBEAT_SECONDS) and not self.is_lost:
            with suppress(LostError, OSError):
                self.beat()

    def beat(self) -> None:
        """Write the next heartbeat, into the open file: a lock that replaces this one meanwhile is not overwritten.

        Raises:
            LostError: the lock is lost.
        """
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            self.check()
            return
        try:
            holder = Holder.parse(os.pread(handle, _LARGEST, 0))
            if holder is None or holder.token != self.token:  # an empty file is another process's new lock
                self.check()
                return
            self._holder = replace(self._holder, beat=self._holder.beat + 1)
            os.pwrite(handle, self._holder.as_bytes(), 0)
        finally:
            os.close(handle)


def acquire(
    path: Path,
    what: Path,
    note: Note,
    *,
    take_over: bool = False,
    waits: str = "",
    beats: bool = True,
    watch: Watch | None = None,
) -> Lock:
    """Acquire the lock in the file ``path``, which protects ``what`` from other processes.

    Args:
        path: the lock's file.
        what: the file or folder that it protects, for messages.
        note: receives the reason of a delay.
        take_over: break an existing lock, even if its holder is alive.
        waits: a note for the time in which a living holder is awaited; if empty, a living holder is an error.
        beats: whether the lock gets a heartbeat; a lock that is held only for a moment needs none.
        watch: a watch that has observed the existing lock already, see :func:`dead_locks`.

    Raises:
        HeldError: another process holds it.
        RunError: the lock cannot be written.
    """
    watch, is_noted, lock = watch or Watch(), False, Lock(path, what)
    while not _is_created(lock, what):
        content = _content(path)
        if content is None:
            continue
        state = watch.observe(content, time.monotonic())
        if take_over or state is HolderState.DEAD:
            take_over = False  # if another process was faster, its lock must not be broken
            if _break_lock(lock, content, note):
                break
            continue
        holder = Holder.parse(content)
        if state is HolderState.ALIVE and not waits:
            raise HeldError(_in_use(what, holder))
        if not is_noted:
            is_noted = True
            note(
                waits
                or f"{what} is locked by {holder or 'another process'}, which this process cannot inspect: "
                f"watching its heartbeat for {DEAD_AFTER_SECONDS:g} s"
            )
        time.sleep(POLL_SECONDS)
    if beats:
        lock.start()
    return lock


def _is_created(lock: Lock, what: Path) -> bool:
    try:
        lock.create()
    except FileExistsError:
        return False
    except OSError as error:
        raise RunError(f"{what} cannot be written to: {error.strerror}") from error
    return True


def _content(path: Path) -> bytes | None:
    """Return a lock's content; None if the lock was removed."""
    try:
        return read_lock(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"the lock {path} cannot be read: {error.strerror}") from error


def _in_use(what: Path, holder: Holder | None) -> str:
    by = f" ({holder})" if holder is not None else ""
    elsewhere = "" if holder is not None and holder.is_local else "; --take-over if that host is gone for good"
    return f"{what} is in use: another process trains there{by}; wait for it, or end it{elsewhere}"


def _break_lock(lock: Lock, content: bytes, note: Note) -> bool:
    """Replace the lock with this content; return False if it was removed or replaced meanwhile."""
    holder = Holder.parse(content)
    key = "unread" if holder is None else "".join(filter(str.isalnum, holder.token))[:32]
    breaker = lock.path.with_name(f"{lock.path.name}.{key}.broken")
    # if this process is killed here, others break the breaker's lock by the same rules
    with locked(breaker, lock.path, note, waits=f"another process breaks the lock {lock.path}", beats=False):
        try:
            current = Holder.parse(read_lock(lock.path))
        except OSError:
            return False
        if (current and current.token) != (holder and holder.token):
            return False
        try:
            lock.replace()
        except OSError as error:
            raise RunError(f"the lock {lock.path} cannot be replaced: {error.strerror}; remove it") from error
    return True


@contextmanager
def locked(path: Path, what: Path, note: Note, **how: Any) -> Iterator[Lock]:
    """Hold a lock within the block; see :func:`acquire`."""
    lock = acquire(path, what, note, **how)
    try:
        yield lock
    finally:
        lock.release()


def dead_locks(paths: Sequence[Path], note: Note) -> dict[Path, Watch]:
    """Watch locks of other hosts until the state of each is known; return those whose holders are dead."""
    watching, dead = {path: Watch() for path in paths}, {}
    if watching:
        note(f"watching {len(watching)} heartbeats of other hosts for up to {DEAD_AFTER_SECONDS:g} s")
    while watching:
        for path, watch in list(watching.items()):
            content = _content(path)
            state = HolderState.ALIVE if content is None else watch.observe(content, time.monotonic())
            if state is not HolderState.UNKNOWN:
                del watching[path]
            if state is HolderState.DEAD:
                dead[path] = watch
        time.sleep(POLL_SECONDS if watching else 0)
    return dead


def holder_of(path: Path) -> Holder | None:
    """Return the holder of a lock, as far as a single read shows; None if there is no lock or its holder has ended."""
    try:
        content = read_lock(path)
    except OSError:
        return None
    if state_of(content) is HolderState.DEAD:
        return None
    return Holder.parse(content) or Holder("?", "", "", 0, None, "")


def read_lock(path: Path) -> bytes:
    """Return a lock's content; empty if it is not a regular file."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(handle, _LARGEST) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    finally:
        os.close(handle)
