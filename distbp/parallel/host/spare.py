"""The memory of the spare rows, for what is computed again: taken when it is needed first, if there is room."""

from __future__ import annotations

import time
from collections.abc import Callable

from distbp.errors import ClusterError

_AGAIN_SECONDS = 5.0


class Spare:
    """Knows whether the spare rows can be written; while they cannot, looks again now and then."""

    def __init__(self, reserve: Callable[[], None], note: Callable[[str], None]) -> None:
        """Take the memory by ``reserve``, which raises ClusterError if there is too little; ``note`` is told once."""
        self._reserve, self._note = reserve, note
        self._has_room, self._again = False, 0.0

    def is_there(self) -> bool:
        """Return whether the rows can be written; if not, shards are only computed where there is room already."""
        now = time.monotonic()
        if not self._has_room and now >= self._again:
            try:
                self._reserve()
                self._has_room = True
            except ClusterError as error:
                if not self._again:
                    self._note(
                        f"{error}: others do not compute the shards of late or lost workers, which are waited for"
                    )
                self._again = now + _AGAIN_SECONDS
        return self._has_room
