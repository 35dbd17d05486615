"""Memory for the spare slab rows, reserved when shards are first computed again."""

from __future__ import annotations

import time
from collections.abc import Callable

from distbp.errors import ClusterError

_RETRY_SECONDS = 5.0


class SpareRows:
    """Reserves the spare rows; tries again from time to time while there is too little memory."""

    def __init__(self, reserve: Callable[[], None], note: Callable[[str], None]) -> None:
        """Reserve by ``reserve``, which raises ClusterError on failure; the first failure is passed to ``note``."""
        self._reserve, self._note = reserve, note
        self._has_room, self._next_try = False, 0.0

    def are_available(self) -> bool:
        """Return whether the spare rows may be written, after trying to reserve them if necessary."""
        now = time.monotonic()
        if not self._has_room and now >= self._next_try:
            try:
                self._reserve()
                self._has_room = True
            except ClusterError as error:
                if not self._next_try:
                    self._note(
                        f"{error}: other workers do not take over the shards of stragglers and lost workers, but wait "
                        "for them or their replacements"
                    )
                self._next_try = now + _RETRY_SECONDS
        return self._has_room
