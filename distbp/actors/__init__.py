"""The only code that imports Ray: starts, watches and always stops the worker and parameter-server actors."""

from distbp.actors.pool import ActorPool, cpus_for
from distbp.actors.session import ray_session

__all__ = ["ActorPool", "cpus_for", "ray_session"]
