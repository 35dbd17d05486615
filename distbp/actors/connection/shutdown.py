"""The end of a run on a cluster: all is given back, within a bound, also where Ray has ended together with the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import ray

from distbp.actors.connection.liveness import head_answers, raylet_answers
from distbp.actors.connection.session import leave_alone
from distbp.errors import HeadLostError, Interrupted

_SECONDS = 8.0
"""What giving back may take after an error; a run that is stopped with its cluster has little time left."""
_HEADLESS_SECONDS = 4.0
"""What Ray may take to end without its head, which it asks in vain."""
_LOOK_SECONDS = 0.1
_left: list[ExitStack] = []
"""Connections that cannot be ended any more; they would be, if nobody held them."""


def close(
    everything: ExitStack,
    session: ExitStack,
    error: BaseException | None,
    wait: float,
    is_asked_again: Callable[[], bool],
) -> None:
    """Leave all contexts of ``everything``, of which ``session``, the connection to Ray, is the first.

    Ray asks its head while it ends, and waits for minutes if that is gone; if this host's raylet is gone, Ray ends the
    process from its C++ part. So nothing that asks Ray is waited for longer than it is worth.

    Args:
        everything: what is to be left.
        session: the part of it that ends the connection.
        error: what the run ends with.
        wait: seconds that a run without an error gives it.
        is_asked_again: whether the user wants an interrupted run to end at once.
    """
    is_interrupted = isinstance(error, Interrupted | KeyboardInterrupt)
    seconds, is_left, is_headless = wait if error is None else _SECONDS, False, False
    if ray.is_initialized():
        is_left = not raylet_answers()
        is_headless = is_left or not head_answers(str(ray.get_runtime_context().gcs_address))
        if is_headless:
            seconds, error = _HEADLESS_SECONDS, HeadLostError("Ray's head does not answer")  # so it is not asked
    if is_left:
        _left.append(session.pop_all())
    failures: list[BaseException] = []
    leaving = threading.Thread(target=_leave, args=(everything, error, failures), daemon=True)
    leaving.start()
    deadline = time.monotonic() + seconds
    while leaving.is_alive() and time.monotonic() < deadline:
        leaving.join(_LOOK_SECONDS)
        if is_interrupted and is_asked_again():
            break
    # Where the connection is not the pool's own, whoever has it would end it next.
    if leaving.is_alive() or (is_headless and ray.is_initialized()):
        leave_alone()
    for failure in failures:
        raise failure


def _leave(everything: ExitStack, error: BaseException | None, failures: list[BaseException]) -> None:
    try:
        everything.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
    except BaseException as failure:  # raised where it is waited for
        if failure is not error:
            failures.append(failure)
