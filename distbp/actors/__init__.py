"""The only code that imports Ray: starts, watches and always stops the worker and parameter-server actors."""

from distbp.actors.pool import ActorPool, cpus_for
from distbp.actors.session import ray_session

__all__ = ["ActorPool", "cpus_for", "free_cpus", "ray_session"]


def free_cpus() -> int:
    """Return the CPUs of the placement group that this process is in, but for its own; 0 if it is in none."""
    from distbp.actors.placement import free_bundles

    return len(free_bundles())
