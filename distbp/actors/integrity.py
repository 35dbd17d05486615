"""Integrity of a run on several hosts: weights that differ between hosts, and messages damaged in transit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distbp.actors.host_handle import HostHandle
from distbp.errors import CorruptError, PeerLostError
from distbp.parallel.host.messages import RunEnded, ViewEnded, WeightsDiffer
from distbp.parallel.mesh.agreement import describe, difference

_MOST_DAMAGES = 8
"""A link counts as broken after this many repetitions of one step because of damaged messages."""


class Integrity:
    """Checks the hosts of the current view."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._view: Sequence[HostHandle] = ()
        self._damages = -1, 0
        """The last step with damaged messages, and the number of its repetitions."""
        self._corrupt: CorruptError | None = None

    def begin(self, members: Sequence[HostHandle]) -> None:
        """Begin a new view of these hosts, in the order of their numbers."""
        self._view = list(members)

    def note_damage(self, ended: RunEnded) -> None:
        """Note the messages that arrived damaged at a host, from its server's answer.

        Raises:
            PeerLostError: messages were damaged in one step again and again.
        """
        for number, count in ended.resent:
            self._note(f"{count} messages of {self._view[number].name} were damaged in transit and sent again")
        if not isinstance(ended, ViewEnded):
            return
        step = ended.steps
        for number, reason in ended.reasons:
            if number in ended.damaged:
                self._note(f"{self._view[number].name} {reason}: step {step} is repeated")
                self._damages = step, self._damages[1] + 1 if self._damages[0] == step else 1
                if self._damages[1] > _MOST_DAMAGES:
                    raise PeerLostError(
                        f"{self._view[number].name} {reason}, after {_MOST_DAMAGES} repetitions of step {step} for the "
                        "same reason: look at its network card, cable and switch"
                    )

    def check(self, members: Sequence[HostHandle], step: int) -> None:
        """Raise CorruptError if the hosts report that their weights differ, or if they differ after ``step`` steps."""
        ended = {
            number: member.ended
            for number, member in enumerate(self._view)
            if member in members and member.ended is not None
        }
        reported = [each.difference for each in ended.values() if isinstance(each, WeightsDiffer)]
        layers = {number: each.layers for number, each in ended.items() if each.steps == step and each.layers}
        for each in (*reported, difference(step, layers)):
            if each is not None and self._corrupt is None:
                self._corrupt = CorruptError(describe(each, [member.name for member in self._view]))
        self.confirm()

    def note_error(self, error: Exception) -> None:
        """Remember an error after which no host's state can be trusted, if it is one."""
        if isinstance(error, CorruptError):
            self._corrupt = error

    def confirm(self) -> None:
        """Raise CorruptError if no host's state can be trusted any more."""
        if self._corrupt is not None:
            raise self._corrupt
