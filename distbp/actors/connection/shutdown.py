"""Release all that a run holds on Ray, within a bounded time, even if Ray itself is gone."""

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
"""Time limit after an error: a run that is stopped together with its cluster has little time left."""
_HEADLESS_SECONDS = 4.0
"""Time limit without a head, from which Ray would wait in vain for answers."""
_LOOK_SECONDS = 0.1
_left: list[ExitStack] = []
"""Connections that must stay open; without this reference the garbage collector would end them."""


def close(
    everything: ExitStack,
    session: ExitStack,
    error: BaseException | None,
    wait: float,
    is_asked_again: Callable[[], bool],
) -> None:
    """Exit all contexts of ``everything``; ``session``, the connection to Ray, was entered first and is exited last.

    While it shuts down, Ray calls its head, and blocks for minutes if the head is gone; if this host's raylet is gone,
    Ray's C++ code ends the whole process. So every wait for Ray has a limit.

    Args:
        everything: all contexts of the run.
        session: the part of them that ends the connection.
        error: the error that ends the run, if any.
        wait: time limit in seconds for a run that ends without an error.
        is_asked_again: returns whether the user has asked a second time to stop, which ends the wait.
    """
    is_interrupted = isinstance(error, Interrupted | KeyboardInterrupt)
    seconds, is_left, is_headless = wait if error is None else _SECONDS, False, False
    if ray.is_initialized():
        is_left = not raylet_answers()
        is_headless = is_left or not head_answers(str(ray.get_runtime_context().gcs_address))
        if is_headless:
            seconds, error = (
                _HEADLESS_SECONDS,
                HeadLostError("Ray's head does not answer"),
            )  # contexts that get this error do not call the head
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
    # If other code made the connection, it would end it next, and hang.
    if leaving.is_alive() or (is_headless and ray.is_initialized()):
        leave_alone()
    for failure in failures:
        raise failure


def _leave(everything: ExitStack, error: BaseException | None, failures: list[BaseException]) -> None:
    try:
        everything.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
    except BaseException as failure:  # close() raises it, in the caller's thread
        if failure is not error:
            failures.append(failure)
