"""What the driver makes of hosts whose weights differ, and of messages that were damaged between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from distbp.actors.host_handle import HostHandle
from distbp.errors import CorruptError, PeerLostError
from distbp.parallel.mesh.agreement import Difference, describe, difference

_MOST_DAMAGES = 8
"""Times that one step is done again because messages were damaged; a link that is worse than that is of no use."""


class Agreement:
    """Watches over one view after the other."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._view: Sequence[HostHandle] = ()
        self._damages = -1, 0
        """The step in which messages were damaged last, and how often."""
        self._corrupt: CorruptError | None = None

    def begin(self, members: Sequence[HostHandle]) -> None:
        """Watch over these, in the order of their numbers in the view."""
        self._view = list(members)

    def hear(self, done: dict[str, Any]) -> None:
        """Note what was damaged on its way to a host whose rounds have come to an end.

        Raises:
            PeerLostError: that happens in one step again and again.
        """
        step = done["done"]
        for number, count in done.get("again", ()):
            self._note(f"{count} messages of {self._view[number].name} were damaged on their way and sent again")
        for number, why in done.get("hosts", ()):
            if number in done["damaged"]:
                self._note(f"{self._view[number].name} {why}: step {step} is done again")
                self._damages = step, self._damages[1] + 1 if self._damages[0] == step else 1
                if self._damages[1] > _MOST_DAMAGES:
                    raise PeerLostError(
                        f"{self._view[number].name} {why}, and so it went {_MOST_DAMAGES} times before in step {step}: "
                        "look at its network card, cable and switch"
                    )

    def check(self, members: Sequence[HostHandle], step: int) -> None:
        """Raise CorruptError if hosts have found that their weights differ, or if they differ after ``step`` steps."""
        told = {
            number: member.done
            for number, member in enumerate(self._view)
            if member in members and member.done is not None
        }
        found = [Difference(*done["differ"]) for done in told.values() if "differ" in done]
        last = difference(
            step, {number: done["layers"] for number, done in told.items() if done["done"] == step and "layers" in done}
        )
        for each in (*found, last):
            if each is not None and self._corrupt is None:
                self._corrupt = CorruptError(describe(each, [member.name for member in self._view]))
        self.confirm()

    def heard(self, error: Exception) -> None:
        """Remember an error after which nobody knows any more which state is right, if it is one."""
        if isinstance(error, CorruptError):
            self._corrupt = error

    def confirm(self) -> None:
        """Raise CorruptError if no state of the hosts may be read any more."""
        if self._corrupt is not None:
            raise self._corrupt
