"""How a call of an actor ended: normally, with an error of the called code, or with the death of its process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import (
    ActorUnavailableError,
    LocalRayletDiedError,
    NodeDiedError,
    OutOfDiskError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from distbp.errors import ClusterError, PeerLostError, TrainingError

_SLICE_SECONDS = 0.1
"""Longest uninterrupted wait in Ray, which handles no signals meanwhile."""
_CAUSES: tuple[tuple[type[RayError], str], ...] = (
    (OutOfMemoryError, "memory: Ray's memory monitor killed it"),
    (OutOfDiskError, "disk: its node is out of space"),
    (NodeDiedError, "its node died"),
    (LocalRayletDiedError, "its node's raylet died"),
    (ActorUnavailableError, "it could not be reached"),
    (WorkerCrashedError, ""),
)


def death(error: RayError, actor: str) -> str:
    """Return why the process that was called died; an empty string if Ray gives no cause.

    Every error of Ray's counts as a death, from which a run recovers, including the loss of the call's arguments, such
    as a state on a host that died. Errors of the called code itself are raised.

    Raises:
        TrainingError: raised by the called code.
        ClusterError: raised by the called code.
        PeerLostError: the called code raised any other error, or the actor could not be created.
    """
    if isinstance(error, RayTaskError):
        if isinstance(error.cause, RayError):
            return death(error.cause, actor)
        if isinstance(error.cause, TrainingError | ClusterError):
            raise type(error.cause)(str(error.cause)) from error
        raise failed(actor, error) from error
    message = str(error).strip()
    if isinstance(error, RayActorError) and error.actor_init_failed:  # a restart would fail in the same way
        raise PeerLostError(f"{actor} could not start: {message.splitlines()[-1].strip()}") from error
    for kind, cause in _CAUSES:
        if isinstance(error, kind):
            return cause
    if isinstance(error, RayActorError):
        if error.preempted:
            return "its node was preempted"
        return "its node died" if "node has died" in message else ""
    return _first_line(error)


def ending(ref: Any, actor: str, seconds: float = 0.0) -> str | None:
    """Wait up to ``seconds`` for a call of ``actor`` to end; return None if it is still running.

    If its process died, return the cause (see :func:`death`); an empty string if it is unknown or the call returned.

    Raises:
        TrainingError: raised by the called code.
        ClusterError: raised by the called code.
        PeerLostError: the called code raised any other error.
    """
    deadline = time.monotonic() + seconds
    while not ray.wait([ref], timeout=max(0.0, min(_SLICE_SECONDS, deadline - time.monotonic())))[0]:
        if time.monotonic() >= deadline:
            return None
    try:
        ray.get(ref)
    except RayError as error:
        return death(error, actor)
    return ""


def put(value: Any) -> Any:
    """Put a value into Ray's object store; return its reference.

    Raises:
        ClusterError: the store is full.
    """
    try:
        return ray.put(value)
    except RayError as error:
        raise ClusterError(
            f"Ray's object store has no room for the run's arrays ({_first_line(error)}): make it larger, or use "
            "--workers 0"
        ) from error


def within(seconds: float, call: Callable[[], None]) -> bool:
    """Make a call that may block on Ray's head; return whether it finishes within ``seconds``.

    Without a head it would block for minutes, uninterruptibly, so a daemon thread makes it.
    """
    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    caller.join(seconds)
    return not caller.is_alive()


def in_brackets(cause: str) -> str:
    """Return a cause as a suffix for a message: in brackets, or empty if the cause is unknown."""
    return f" ({cause})" if cause else ""


def failed(actor: str, error: RayError) -> PeerLostError:
    """Return the error to raise for an actor's failed call."""
    return PeerLostError(f"{actor} failed: {_first_line(error.cause if isinstance(error, RayTaskError) else error)}")


def is_loss(error: RayError) -> bool:
    """Return whether a call failed because some process other than its own died."""
    return isinstance(error, RayTaskError) and isinstance(error.cause, RayError)


def _first_line(error: BaseException) -> str:
    """Return an error's type and the first line of its message."""
    message = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
