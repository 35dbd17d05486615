"""What the call of an actor ended with: by itself, with an error of its own, or with its process."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayError, RayTaskError

from distbp.errors import ClusterError, PeerLostError, TrainingError


def raise_cause(error: RayTaskError) -> None:
    """Raise the error of ours that an actor's call ended with, if it was one."""
    if isinstance(error.cause, TrainingError | ClusterError):
        raise type(error.cause)(str(error.cause)) from error


def ended(ref: Any, who: str) -> bool:
    """Return whether the call of the actor ``who`` has ended, by itself or with its process.

    Raises:
        TrainingError: it ended with an error.
    """
    if not ray.wait([ref], timeout=0)[0]:
        return False
    with suppress(RayActorError):
        try:
            ray.get(ref)
        except RayTaskError as error:
            raise_cause(error)
            raise failed(who, error) from error
    return True


def failed(who: str, error: RayError) -> PeerLostError:
    """Return the error that says what an actor's call has failed with."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    said = (str(cause).strip().splitlines() or [""])[0]
    return PeerLostError(f"{who} failed: {type(cause).__name__}{': ' * bool(said)}{said}")


def is_loss(error: RayError) -> bool:
    """Return whether a call failed because an actor, or an object that it held, is gone."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    return isinstance(cause, RayActorError | ObjectLostError | NodeDiedError)
