"""Environment variables that Ray reads, set for the length of a run and restored after it."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

_ALWAYS = {
    # Under `uv run` Ray would upload the current folder as every worker's working directory.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Ray reports dead processes on stdout, which is for results; the run reports them itself.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "A worker died or was killed while executing a task|Raylet is terminated",
}
_PRIVATE = {
    # Ray's C++ code would end this process once the head is gone for a minute; the run detects and reports that before.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
}
_RAYLET = "RAY_RAYLET_PID"
"""The process that Ray's C++ code checks when a call to the raylet fails: if it is dead, this process exits silently.
By default that is the parent, which is gone for an orphan (nohup, a container)."""
_HEAD = {
    # By default Ray runs its workers at nice 15, behind everything else on the machine.
    "RAY_worker_niceness": "0",
    # Without support for clusters of several hosts, Ray listens on 127.0.0.1 alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Otherwise the driver blocks, without a time limit and ignoring signals, until Ray's first workers have started.
    "RAY_prestart_worker_first_driver": "0",
}
_RAYS_OWN = "RAY_CLIENT_MODE", "PYTHONBREAKPOINT"
"""Variables that Ray sets on import and on connecting."""
_REGISTER_SECONDS = 60
"""Ray's default time limit for the start of a worker process."""


@contextmanager
def ray_environment(private: bool) -> Iterator[None]:
    """Import Ray in the environment that a run needs and restore the old one at the end; the user's settings win."""
    settings = {**_ALWAYS, **(_PRIVATE if private else {}), _RAYLET: str(os.getpid())}
    wanted = {name: value for name, value in settings.items() if name not in os.environ}
    if private:
        # A private Ray gets a token of its own, so nothing is read from or written to ~/.ray.
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
            _reload_ray_settings()


@contextmanager
def _only_this_machine() -> Iterator[None]:
    """Make Ray in this process read the token, and use 127.0.0.1 instead of an address that other machines reach."""
    from ray._private import ray_constants

    _reload_ray_settings()
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def head_environment(wait: float) -> Mapping[str, str]:
    """Return the environment for the processes of a private Ray."""
    own = {name: value for name, value in os.environ.items() if name not in (*_PRIVATE, _RAYLET)}
    register = {"RAY_worker_register_timeout_seconds": str(round(max(wait, _REGISTER_SECONDS)))}
    # ray.init sends no usage statistics from a private Ray, but a head started without it would.
    return {**register, **_HEAD, **own, "RAY_USAGE_STATS_ENABLED": "0"}


def _reload_ray_settings() -> None:
    """Make Ray's compiled module, if it is loaded, read its settings again; by itself it reads them once."""
    if "ray._raylet" not in sys.modules:
        return
    _raylet = sys.modules["ray._raylet"]
    _raylet.Config.initialize("")  # first: in token mode the next lines would look for the old token
    if hasattr(_raylet, "AuthenticationTokenLoader"):
        _raylet.AuthenticationTokenLoader.instance().reset_cache()
