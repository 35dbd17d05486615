"""The only code that imports Ray: starts, watches and always stops the worker and parameter-server actors."""

import sys

from distbp.actors.connection.session import ray_session
from distbp.actors.executor import ActorExecutor, cpus_for, session_for

__all__ = ["ActorExecutor", "cpus_for", "free_cpus", "ray_session", "session_for"]


def free_cpus() -> int | None:
    """Return the CPUs of the placement group that this process is in, but for its own; None if it is in none.

    Ray is not loaded for that: who is in a group has it.
    """
    if "ray" not in sys.modules or not sys.modules["ray"].is_initialized():
        return None
    from distbp.actors.connection.placement import free_bundles

    free = free_bundles()
    return None if free is None else len(free)
