"""A connection to Ray: a private local one that ends with the run, or an existing cluster that stays."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from distbp.actors.addresses import refuse_open_cluster
from distbp.errors import ClusterError
from distbp.parallel.folders import private_folder, temporary_folder
from distbp.signals import ENDING

_PROBE_SECONDS = 12.0
_CONNECT_SECONDS = 3.0
_PROBE = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"

_private = threading.Lock()
"""Held by the run that started this process's Ray, of which there can be one; its thread is the owner."""
_owner = [0]


@contextmanager
def ray_session(address: str | None, cpus: int, insecure: bool = False) -> Iterator[bool]:
    """Connect to Ray for the length of the ``with`` block; give whether that Ray is private.

    Args:
        address: an existing cluster, HOST:PORT or ``auto``; None for a private Ray on this machine, with as many
            CPUs as are asked for whether the machine has them or not. If this process is connected already, that
            connection is used and left as it is.
        cpus: CPUs of the private Ray.
        insecure: also take a cluster on another machine that no token protects.

    Raises:
        ClusterError: the platform has no Ray, nobody answers at the address, or Ray does not start.
    """
    if sys.platform not in ("linux", "darwin"):
        raise ClusterError(f"Ray workers need Linux or macOS, this is {sys.platform}: use --workers 0")
    if "ray" not in sys.modules or not sys.modules["ray"].is_initialized():  # else it is somebody else's to set up
        _prepare_environment(private=address is None)
    import ray

    if _private.locked() and _owner[0] != threading.get_ident():
        raise ClusterError("another thread of this process trains on Ray: one after the other, or a process for each")
    if ray.is_initialized():
        yield _private.locked()
        return
    if address is not None:
        refuse_open_cluster(address, insecure)
        _check_address(address)
    stack = ExitStack()
    try:
        _private.acquire()
        stack.callback(_private.release)
        _owner[0] = threading.get_ident()
        folder = None if address else stack.enter_context(private_folder(temporary_folder()))
        stack.callback(ray.shutdown)
        with _signal_handlers_kept():
            _connect(ray, address, cpus, folder)
        yield address is None
    finally:
        with signals_deferred():
            stack.close()


def _connect(ray: object, address: str | None, cpus: int, folder: Path | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    private = {
        "num_cpus": cpus,
        "include_dashboard": False,
        "_temp_dir": str(folder),
    }
    # Ray ends the process on SIGTERM while it starts, where we end the run.
    try:
        ray.init(address=address or "local", **quiet, **({} if address else private))  # type: ignore[attr-defined]
    except SystemExit as error:
        raise KeyboardInterrupt from error
    except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
        where = f"Ray at {address}" if address else "a private Ray on this machine"
        raise ClusterError(f"{where} could not be used: {str(error).strip().splitlines()[0]}") from error


def _prepare_environment(private: bool) -> None:
    """Set what Ray reads from the environment when it is imported and started, unless the user has set it."""
    # Ray runs its workers at nice 15 by default, so that anything else on the machine goes first.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Under `uv run` Ray would upload the current folder as every worker's working directory.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # Ray prints on stdout, where results go, that a process of its died; the run says so itself.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed while executing a task")
    if not private:
        return
    # Where Ray believes that it cannot make a cluster of several hosts, it listens on 127.0.0.1 alone.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if "RAY_AUTH_MODE" not in os.environ:
        # A token of this process's own: nothing is read from or written to the user's ~/.ray.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        if "ray" in sys.modules:
            # Ray read its settings when somebody imported it, and must read them again to know of the token.
            from ray._raylet import Config  # type: ignore[attr-defined]  # of Ray's compiled part

            Config.initialize("")


@contextmanager
def signals_deferred() -> Iterator[list[int]]:
    """Let signals that end a run wait until the block ends: a clean-up that is cut short leaves things behind.

    Give the list of those that have come meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone ever runs a handler
        yield []
        return
    # A mask would not do: it is the calling thread's alone, and the kernel takes any thread that has none.
    noted: list[int] = []
    handlers = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in handlers.items():
        if handler is not None:  # else it is not Python's, and could not be put back
            signal.signal(number, lambda number, frame: noted.append(number))
    try:
        yield noted
    finally:
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)
        for noted_number in dict.fromkeys(noted):
            signal.raise_signal(noted_number)


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Put back the SIGTERM handler that ``ray.init`` replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_address(address: str) -> None:
    """Find out within 15 s whether a Ray cluster answers.

    Ray itself would wait for minutes, and then end the whole process from its C++ part; so another process asks first.
    """
    if address == "auto":
        _probe(address)
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        raise ClusterError(
            f"nobody answers at {address}: {getattr(error, 'strerror', None) or error}; is the Ray cluster up?"
        ) from error
    _probe(address)


def _probe(address: str) -> None:
    """Connect in a process of its own, which Ray may end."""
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE, address],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS - _CONNECT_SECONDS,
            env={**os.environ, "RAY_gcs_rpc_server_reconnect_timeout_s": "5"},
        )
        answered, said = probe.returncode == 0, probe.stderr
    except subprocess.TimeoutExpired:
        answered, said = False, ""
    if "uthenticat" in said:
        raise ClusterError(f"the Ray cluster at {address} wants its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN")
    if not answered:
        raise ClusterError(f"what answers at {address} is no Ray cluster of this Ray version")
