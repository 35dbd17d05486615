"""The actors of a run on Ray: started, watched, replaced, and always stopped."""

import sys

from distbp.actors.connection.session import ray_session
from distbp.actors.executor import ActorExecutor, cpus_for, session_for

__all__ = ["ActorExecutor", "cpus_for", "free_cpus", "ray_session", "session_for"]


def free_cpus() -> int | None:
    """Return the number of free CPUs in this process's placement group; None if it is in none.

    This does not import Ray: a process in a placement group has imported it.
    """
    if "ray" not in sys.modules or not sys.modules["ray"].is_initialized():
        return None
    from distbp.actors.connection.placement import free_bundles

    free = free_bundles()
    return None if free is None else len(free)
