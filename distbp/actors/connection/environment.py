"""What Ray reads from the environment of this process, set for as long as a run needs it and put back after it."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

_ALWAYS = {
    # Under `uv run` Ray would upload the current folder as every worker's working directory.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Ray prints on stdout, where results go, that a process of its died; the run says so itself.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "A worker died or was killed while executing a task|Raylet is terminated",
}
_PRIVATE = {
    # Ray's C++ part would end this process when its head is gone for a minute; the run sees that before, and says it.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
}
_RAYLET = "RAY_RAYLET_PID"
"""The process whose life counts when a call to the raylet fails: if it is dead, Ray's C++ part ends this process
without a word. By default that is the parent, and an orphan (nohup, a container) would always end so."""
_HEAD = {
    # Ray runs its workers at nice 15 by default, so that anything else on the machine goes first.
    "RAY_worker_niceness": "0",
    # Where Ray believes that it cannot make a cluster of several hosts, it listens on 127.0.0.1 alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Else Ray lets the driver wait, for ever and deaf to signals, until its first worker processes are there.
    "RAY_prestart_worker_first_driver": "0",
}
_RAYS_OWN = "RAY_CLIENT_MODE", "PYTHONBREAKPOINT"
"""What Ray itself sets when it is imported and connects."""
_REGISTER_SECONDS = 60
"""What Ray gives a worker process to start by default."""


@contextmanager
def ray_environment(private: bool) -> Iterator[None]:
    """Import Ray in the environment that a run needs, unless the user has set another; put all back at the end."""
    settings = {**_ALWAYS, **(_PRIVATE if private else {}), _RAYLET: str(os.getpid())}
    wanted = {name: value for name, value in settings.items() if name not in os.environ}
    if private:
        # A token of this Ray's own, whatever clusters the user has: nothing is read from or written to ~/.ray.
        wanted |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    before = {name: os.environ.get(name) for name in (*wanted, *_RAYS_OWN)}
    os.environ.update(wanted)
    try:
        with _only_this_machine() if private else nullcontext():
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if private:
            _read_again()


@contextmanager
def _only_this_machine() -> Iterator[None]:
    """Let Ray's part in this process take the token, and 127.0.0.1 as it stands, not an address that others reach."""
    from ray._private import ray_constants

    _read_again()
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def head_environment(wait: float) -> Mapping[str, str]:
    """Return the environment of a private Ray's own processes."""
    mine = {name: value for name, value in os.environ.items() if name not in (*_PRIVATE, _RAYLET)}
    register = {"RAY_worker_register_timeout_seconds": str(round(max(wait, _REGISTER_SECONDS)))}
    # Ray's own ray.init never reports from a private Ray, but its head by itself would.
    return {**register, **_HEAD, **mine, "RAY_USAGE_STATS_ENABLED": "0"}


def _read_again() -> None:
    """Let Ray's compiled part, which reads its settings once, read them again if it is there."""
    if "ray._raylet" not in sys.modules:
        return
    _raylet = sys.modules["ray._raylet"]
    _raylet.Config.initialize("")  # first, as nobody may look for a token that is not there any more
    if hasattr(_raylet, "AuthenticationTokenLoader"):
        _raylet.AuthenticationTokenLoader.instance().reset_cache()
