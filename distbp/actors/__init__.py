"""The only code that imports Ray: starts, watches and always stops the worker and parameter-server actors."""

from distbp.actors.pool import ActorPool

__all__ = ["ActorPool"]
