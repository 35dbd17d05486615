"""Locks that are files, so that they hold between hosts and on disks that know no locks.

A lock names its holder (host, boot, process and the process's start) and carries a heartbeat, which the holder rewrites
in place every few seconds. Clocks of two hosts are never compared. A lock is broken only if that is proved safe:

- its holder was a process of this host (and of this process-id namespace) that has ended;
- its holder is elsewhere, and the reader itself has seen the heartbeat stand still for a minute;
- or the user says so (--take-over).

Whoever breaks a lock first takes a lock named after the old one's token, so of several breakers one wins. A holder that
lives after all sees the new token when it checks, which it does before everything that it writes.
"""

from distbp.files.locks.holders import Watch
from distbp.files.locks.lock import Lock, acquire, dead_locks, holder_of, locked

__all__ = ["Lock", "Watch", "acquire", "dead_locks", "holder_of", "locked"]
