"""Whether a process exists."""

from __future__ import annotations

import os


def process_exists(process: int) -> bool:
    """Return whether a process with this id exists, including other users' processes and zombies."""
    if process <= 0:  # such numbers mean process groups
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's process
        pass
    return True
