"""Takes, keeps and breaks locks."""

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
    myself,
    own_tokens,
    standing_of,
)

_HEARTBEAT_SECONDS = 3.0
_LARGEST = 4096

Note = Callable[[str], None]


class Lock:
    """A lock that this process holds, until :meth:`release`."""

    def __init__(self, path: Path, what: Path) -> None:
        self.path, self.what = path.absolute(), what
        self._holder = replace(myself(), token=uuid.uuid4().hex)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_lost = False
        """Whether the heartbeat has found that the lock is no longer there, or another one's."""

    @property
    def token(self) -> str:
        """What tells this lock from all others."""
        return self._holder.token

    def create(self, path: Path | None = None) -> None:
        """Write the lock where there is none yet.

        Raises:
            FileExistsError: there is one.
        """
        place = path or self.path
        handle = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            os.write(handle, self._holder.as_bytes())
        except OSError:
            with suppress(OSError):
                place.unlink()
            raise
        finally:
            os.close(handle)
        own_tokens.add(self.token)

    def replace(self) -> None:
        """Write the lock in the place of another one."""
        beside = self.path.with_name(f"{self.path.name}.{self.token}")
        self.create(beside)
        try:
            beside.replace(self.path)
        finally:
            with suppress(OSError):
                beside.unlink()

    def start(self) -> None:
        """Let the heart beat."""
        self._thread = threading.Thread(target=self._run, name="distbp-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that this process still holds the lock.

        Raises:
            LostError: it does not; nothing may be written any more.
        """
        try:
            found = Holder.parse(read_lock(self.path))
        except FileNotFoundError:
            self.is_lost = True
            gone = "its lock" if self.what.is_dir() else "it"
            raise LostError(f"{self.what} is no longer this process's: {gone} was removed meanwhile") from None
        except OSError:  # a disk that does not answer says nothing of the lock
            return
        if found is not None and found.token != self.token:
            self.is_lost = True
            raise LostError(f"{self.what} was taken over by {found}: this process ends and writes nothing more there")

    def release(self) -> None:
        """Take the lock away, if it is still this process's."""
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_HEARTBEAT_SECONDS)
        if self._holder.pid != os.getpid():  # a child that was forked holds nothing
            return
        own_tokens.discard(self.token)
        with suppress(OSError):
            found = Holder.parse(read_lock(self.path))
            if found is not None and found.token == self.token:
                self.path.unlink()

    def _run(self) -> None:
        while not self._ended.wait(_HEARTBEAT_SECONDS) and not self.is_lost:
            with suppress(LostError, OSError):
                self.beat()

    def beat(self) -> None:
        """Rewrite the heartbeat; in the same file, so that a lock that has taken its place is never written to.

        Raises:
            LostError: the lock is lost.
        """
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            self.check()
            return
        try:
            found = Holder.parse(os.pread(handle, _LARGEST, 0))
            if found is None or found.token != self.token:  # one without content is about to be another one's
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
    """Take the lock in the file ``path``, which keeps other processes from ``what``.

    Args:
        path: the lock's file.
        what: what it is for, named in messages.
        note: told why it takes time.
        take_over: break the lock that is there, whatever its holder does.
        waits: said once where a living holder is waited for; if empty, that is an error.
        beats: whether it has a heartbeat; not if it is held for a moment.
        watch: what has watched the lock that is there, see :func:`dead_locks`.

    Raises:
        HeldError: another process holds it.
        RunError: the lock cannot be written.
    """
    watch, is_told, lock = watch or Watch(), False, Lock(path, what)
    while not _is_created(lock, what):
        content = _content(path)
        if content is None:
            continue
        standing = watch.look(content, time.monotonic())
        if take_over or standing is HolderState.GONE:
            take_over = False  # if another one was quicker, it lives
            if _broken(lock, content, note):
                break
            continue
        holder = Holder.parse(content)
        if standing is HolderState.ALIVE and not waits:
            raise HeldError(_in_use(what, holder))
        if not is_told:
            is_told = True
            note(waits or f"{what} is locked by {holder or 'another process'}, which cannot be seen from here: "
                 f"watching its heartbeat for {DEAD_AFTER_SECONDS:g} s")  # fmt: skip
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
    """Return a lock's content, None if it has gone."""
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


def _broken(lock: Lock, content: bytes, note: Note) -> bool:
    """Put the lock in the place of the one that holds ``content``; return whether that was still there."""
    holder = Holder.parse(content)
    key = "unread" if holder is None else "".join(filter(str.isalnum, holder.token))[:32]
    breaker = lock.path.with_name(f"{lock.path.name}.{key}.broken")
    # a breaker that was killed in this moment is itself broken, by the same rules
    with locked(breaker, lock.path, note, waits=f"another process breaks the lock {lock.path}", beats=False):
        try:
            found = Holder.parse(read_lock(lock.path))
        except OSError:
            return False
        if (found and found.token) != (holder and holder.token):
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
    """Watch locks of other hosts, all at once, for as long as it takes; return those whose holders are dead."""
    watching, dead = {path: Watch() for path in paths}, {}
    if watching:
        note(f"watching {len(watching)} heartbeats of other hosts for up to {DEAD_AFTER_SECONDS:g} s")
    while watching:
        for path, watch in list(watching.items()):
            content = _content(path)
            standing = HolderState.ALIVE if content is None else watch.look(content, time.monotonic())
            if standing is not HolderState.UNKNOWN:
                del watching[path]
            if standing is HolderState.GONE:
                dead[path] = watch
        time.sleep(POLL_SECONDS if watching else 0)
    return dead


def holder_of(path: Path) -> Holder | None:
    """Return who holds a lock, as far as one look can tell; None for a process that has ended, or nobody."""
    try:
        content = read_lock(path)
    except OSError:
        return None
    if standing_of(content) is HolderState.GONE:
        return None
    return Holder.parse(content) or Holder("?", "", "", 0, None, "")


def read_lock(path: Path) -> bytes:
    """Return a lock's content; empty if it is no ordinary file."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(handle, _LARGEST) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    finally:
        os.close(handle)
