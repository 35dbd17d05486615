"""Lock files, which work between hosts and on file systems without locks of their own.

A lock names its holder (host, boot, process id and the process's start time) and carries a heartbeat, which the holder
rewrites in place every few seconds. Clocks of two hosts are never compared. A lock is broken only in these cases:

- its holder was a process of the same host (and of the same process-id namespace) that has ended;
- its holder is on another host, and this process has seen no heartbeat for a minute;
- the user asks for it (--take-over).

To break a lock, a process first takes another lock, named after the old one's token, so only one of several succeeds. A
holder that is alive after all sees the new token at its next check, which precedes everything that it writes.
"""

from distbp.files.locks.holders import Watch
from distbp.files.locks.lock import Lock, acquire, dead_locks, holder_of, locked

__all__ = ["Lock", "Watch", "acquire", "dead_locks", "holder_of", "locked"]
