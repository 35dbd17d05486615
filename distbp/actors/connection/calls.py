"""What the call of an actor ended with: by itself, with an error of its own, or with its process."""

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
"""Between two looks at signals, of which Ray takes none while it waits."""
_CAUSES: tuple[tuple[type[RayError], str], ...] = (
    (OutOfMemoryError, "memory: Ray's memory monitor killed it"),
    (OutOfDiskError, "disk: its node has no room left"),
    (NodeDiedError, "its node died"),
    (LocalRayletDiedError, "its node's raylet died"),
    (ActorUnavailableError, "it could not be reached"),
    (WorkerCrashedError, ""),
)


def death(error: RayError, who: str) -> str:
    """Return why the process that was to answer is gone; empty where Ray knows no more than that it is.

    Whatever Ray raises counts as a death, and so as something to recover from, but for what the called code has raised
    by itself. Also a loss of what the call was given, such as a state on a host that has died, is one.

    Raises:
        TrainingError: the called code's own.
        ClusterError: the same.
        PeerLostError: another error of the called code, or the actor could not even be made.
    """
    if isinstance(error, RayTaskError):
        if isinstance(error.cause, RayError):
            return death(error.cause, who)
        if isinstance(error.cause, TrainingError | ClusterError):
            raise type(error.cause)(str(error.cause)) from error
        raise failed(who, error) from error
    said = str(error).strip()
    if isinstance(error, RayActorError) and error.actor_init_failed:  # it would fail again and again
        raise PeerLostError(f"{who} could not start: {said.splitlines()[-1].strip()}") from error
    for kind, cause in _CAUSES:
        if isinstance(error, kind):
            return cause
    if isinstance(error, RayActorError):
        if error.preempted:
            return "its node was preempted"
        return "its node died" if "node has died" in said else ""
    return _named(error)


def ending(ref: Any, who: str, seconds: float = 0.0) -> str | None:
    """Wait so long for the end of a call of the actor ``who``; return None if it goes on.

    Else return what its process has ended with (see :func:`death`), or an empty text.

    Raises:
        TrainingError: it ended with an error of its own.
        ClusterError: the same.
    """
    until = time.monotonic() + seconds
    while not ray.wait([ref], timeout=max(0.0, min(_SLICE_SECONDS, until - time.monotonic())))[0]:
        if time.monotonic() >= until:
            return None
    try:
        ray.get(ref)
    except RayError as error:
        return death(error, who)
    return ""


def put(value: Any) -> Any:
    """Give a value to Ray's store; return its reference.

    Raises:
        ClusterError: the store has no room for it.
    """
    try:
        return ray.put(value)
    except RayError as error:
        raise ClusterError(
            f"Ray's object store does not take the run's arrays ({_named(error)}): give it more, or use --workers 0"
        ) from error


def within(seconds: float, call: Callable[[], None]) -> bool:
    """Make a call that may ask Ray's head; return whether it has ended after so many seconds.

    Without a head it would go on for minutes, and could not be interrupted.
    """
    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    caller.join(seconds)
    return not caller.is_alive()


def in_brackets(cause: str) -> str:
    """Return a cause as it follows what has happened; nothing if it is not known."""
    return f" ({cause})" if cause else ""


def failed(who: str, error: RayError) -> PeerLostError:
    """Return the error that says what an actor's call has failed with."""
    return PeerLostError(f"{who} failed: {_named(error.cause if isinstance(error, RayTaskError) else error)}")


def is_loss(error: RayError) -> bool:
    """Return whether a call failed with a loss in another process, not by its own code or with its own process."""
    return isinstance(error, RayTaskError) and isinstance(error.cause, RayError)


def _named(error: BaseException) -> str:
    said = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}{': ' * bool(said)}{said}"
