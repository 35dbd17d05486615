"""A connection to Ray: to a private Ray that ends with the run, or to an existing cluster."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from distbp.actors.connection.addresses import check_address, refuse_open_cluster
from distbp.actors.connection.environment import head_environment, ray_environment
from distbp.actors.connection.private_ray import PrivateRay
from distbp.errors import ClusterError
from distbp.system.folders import private_folder, temporary_folder
from distbp.system.signals import reinstall_handlers, signals_deferred

WAIT_SECONDS, TIMEOUT_SECONDS = 60.0, 10.0
_POLL_SECONDS = 0.05
_INTERRUPTED_SECONDS = 5.0
"""Time limit for connecting after a signal."""
_DISCONNECT_SECONDS = 10.0

_claim_lock = threading.Lock()
"""Guards the variables below: a process can have one connection to Ray."""
_owner = [0]
"""The thread whose run connected this process to Ray; 0 if none did."""
_private: list[PrivateRay] = []
"""The private Ray of this process, if it has one."""
_broken: list[bool] = []
"""Not empty once this process has lost its Ray, to which it stays connected."""
_user = [0]
"""Id of the process that first used Ray. A fork inherits this value, but not Ray's threads."""


def private_ray() -> PrivateRay | None:
    """Return the private Ray that this process is connected to, or None."""
    return _private[0] if _private else None


@contextmanager
def ray_session(
    address: str | None,
    cpus: int,
    insecure: bool = False,
    wait: float = WAIT_SECONDS,
    timeout: float = TIMEOUT_SECONDS,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[bool]:
    """Connect to Ray for the length of the ``with`` block; yield whether that Ray is private.

    If this process is already connected, its connection is used and stays open.

    Args:
        address: an existing cluster, HOST:PORT or ``auto``; None for a private Ray on this machine.
        cpus: CPUs of the private Ray, which may be more than the machine has.
        insecure: accept a cluster on another machine that no token protects.
        wait: time limit in seconds for Ray to start or to answer.
        timeout: seconds without an answer after which a private Ray counts as lost.
        note: called with progress notes, for instance that Ray is being started.

    Raises:
        ClusterError: Ray does not run on this platform, does not answer at the address, or does not start.
    """
    if sys.platform not in ("linux", "darwin"):
        raise ClusterError(f"Ray workers need Linux or macOS, found {sys.platform}: use --workers 0")
    with ExitStack() as stack:
        try:
            is_connected = _claim(stack, private=address is None)
            if not is_connected and address is not None:
                refuse_open_cluster(address, insecure)
                check_address(address, wait)
                stack.callback(_disconnect)
                _connect(f"Ray at {address}", address, wait)
            elif not is_connected:
                _start(stack, cpus, wait, timeout, note)
            yield bool(_private)
        finally:
            with signals_deferred():
                stack.close()


def _claim(stack: ExitStack, private: bool) -> bool:
    """Claim this process's connection to Ray for this thread; return whether the process is already connected.

    Raises:
        ClusterError: another thread trains on Ray, this process was forked from one that used Ray, or it lost its Ray.
    """
    with _claim_lock:
        if _user[0] not in (0, os.getpid()):
            raise ClusterError(
                "Ray does not work in a process that was forked from one that used Ray: use workers=0, or start "
                "processes with the spawn method"
            )
        if _broken:
            raise ClusterError(
                "this process has lost its Ray and cannot connect to another: use workers=0, or start a new process"
            )
        if _owner[0] not in (0, threading.get_ident()):
            raise ClusterError(
                "another thread of this process trains on Ray: train one after the other, or in separate processes"
            )
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            _user[0] = os.getpid()
            return True
        _owner[0] = threading.get_ident()
        stack.callback(_owner.__setitem__, 0, 0)
        try:
            stack.enter_context(ray_environment(private))
        except ImportError as error:
            raise ClusterError(f"cannot import Ray ({error}): pip install ray, or use --workers 0") from error
        _user[0] = os.getpid()
    return False


def _start(stack: ExitStack, cpus: int, wait: float, timeout: float, note: Callable[[str], None]) -> None:
    """Start a private Ray and connect to it; closing ``stack`` ends both."""
    if temporary_folder() != Path(tempfile.gettempdir()):
        note(f"the path {tempfile.gettempdir()} is too long for sockets: Ray uses a folder in {temporary_folder()}")
    note("starting Ray on this machine")
    with signals_deferred():  # a signal must not come between a start and its entry in the stack
        try:
            folder = stack.enter_context(private_folder(temporary_folder()))
        except OSError as error:
            raise ClusterError(
                f"cannot create a folder for Ray in {temporary_folder()}: {error.strerror}; set TMPDIR to a writable "
                "folder, or use --workers 0"
            ) from error
        private = PrivateRay(folder, cpus, timeout, head_environment(wait))
        stack.callback(private.end)
        _private.append(private)
        stack.callback(_private.clear)
    began = time.monotonic()
    address = private.address(wait)
    stack.callback(_disconnect)
    _connect("the private Ray on this machine", address, wait - (time.monotonic() - began), private)


def _connect(what: str, address: str, wait: float, private: PrivateRay | None = None) -> None:
    """Connect to Ray in a separate thread, which signals do not interrupt and which may hang.

    Raises:
        ClusterError: connecting failed, or took longer than ``wait`` seconds.
    """
    errors: list[BaseException] = []

    def connect() -> None:
        import ray

        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except BaseException as error:  # the waiting thread reports it
            errors.append(error)

    connecting = threading.Thread(target=connect, daemon=True, name="connecting to Ray")
    deadline = time.monotonic() + max(wait, _INTERRUPTED_SECONDS)
    with signals_deferred() as received:
        connecting.start()
        while connecting.is_alive() and time.monotonic() < deadline:
            connecting.join(_POLL_SECONDS)
            if received or (private is not None and private.lost()):
                deadline = min(deadline, time.monotonic() + _INTERRUPTED_SECONDS)
    if connecting.is_alive():
        errors.append(TimeoutError(f"no answer within {wait:.0f} s (--wait)"))
    if errors:
        cause = (str(errors[0]).strip().splitlines() or [type(errors[0]).__name__])[0]
        text = f"cannot use {what}: {cause}"
        raise ClusterError(text if private is None else private.explained(text)) from errors[0]


def _disconnect() -> None:
    """Disconnect in a separate thread, which may hang if Ray is frozen.

    A lost Ray is left alone: to call it would end this process from Ray's C++ code.
    """
    import ray

    from distbp.actors.connection.liveness import raylet_answers

    def is_lost() -> bool:
        return _private[0].lost() if _private else not raylet_answers()

    disconnecting = threading.Thread(target=ray.shutdown, daemon=True, name="disconnecting from Ray")
    deadline = time.monotonic() + _DISCONNECT_SECONDS
    is_abandoned = bool(_broken) or is_lost()
    if not is_abandoned:
        disconnecting.start()
        disconnecting.join(_POLL_SECONDS)
    while not is_abandoned and disconnecting.is_alive():
        is_abandoned = is_lost() or time.monotonic() > deadline
        disconnecting.join(_POLL_SECONDS)
    reinstall_handlers()
    if is_abandoned:
        leave_alone()


def leave_alone() -> None:
    """Stay connected to a lost Ray, and keep exit and exception hooks from calling it."""
    import ray

    _broken.append(True)
    atexit.unregister(ray.shutdown)
    if sys.excepthook is ray._private.worker.custom_excepthook:  # it calls Ray's head, and blocks for minutes
        sys.excepthook = ray._private.worker.normal_excepthook
