"""Checks whether Ray answers: the private Ray on this host, or the head of the run's cluster."""

from __future__ import annotations

from distbp.actors.connection.liveness import HeadWatch
from distbp.actors.connection.session import private_ray


class RayWatch:
    """Watches the Ray that a run uses. Once Ray is lost, a call to it may hang or end this process."""

    def __init__(self, timeout: float) -> None:
        self._local = private_ray()
        self._head = HeadWatch(timeout) if self._local is None else None  # also for a Ray that the caller started

    def may_ask(self, step: int) -> bool:
        """Return whether actors may be called; on a cluster always, since calls do not need its head.

        Raises:
            HeadLostError: the private Ray was lost, up to this step.
        """
        return self._local is None or self._local.look(step)

    def may_start_actors(self, step: int) -> bool:
        """Return whether the head answers, without which no actor can be started.

        Raises:
            HeadLostError: the head has not answered for --timeout, up to this step.
        """
        return self._head is None or self._head.look(step)

    def make_sure(self, step: int) -> None:
        """Wait until it is certain whether the private Ray is lost.

        Raises:
            HeadLostError: it is lost.
        """
        if self._local is not None:
            self._local.make_sure(step)

    def is_lost(self) -> bool:
        """Return whether the private Ray is lost."""
        return self._local is not None and self._local.lost()
