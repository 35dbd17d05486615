"""A connection to Ray: a private local one that ends with the run, or an existing cluster that stays."""

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
_CONNECT_LOOK_SECONDS = 0.05
_INTERRUPTED_SECONDS = 5.0
"""What connecting may still take after a signal."""
_DISCONNECT_SECONDS = 10.0
"""What ending the connection may take."""

_deciding = threading.Lock()
"""Held while it is decided whose this process's Ray is, of which there can be one."""
_owner = [0]
"""The thread whose run connected this process to Ray; 0 where none did."""
_local: list[PrivateRay] = []
"""The private Ray of this process, if it has one."""
_broken: list[bool] = []
"""Holds something when the Ray to which this process stays connected was lost."""
_user = [0]
"""The process that used Ray first; a forked one has its number, but not its threads."""


def private_ray() -> PrivateRay | None:
    """Return the private Ray that this process is connected to."""
    return _local[0] if _local else None


@contextmanager
def ray_session(
    address: str | None,
    cpus: int,
    insecure: bool = False,
    wait: float = WAIT_SECONDS,
    timeout: float = TIMEOUT_SECONDS,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[bool]:
    """Connect to Ray for the length of the ``with`` block; give whether that Ray is private.

    Args:
        address: an existing cluster, HOST:PORT or ``auto``; None for a private Ray on this machine, with as many
            CPUs as are asked for whether the machine has them or not. If this process is connected already, that
            connection is used and left as it is.
        cpus: CPUs of the private Ray.
        insecure: also take a cluster on another machine that no token protects.
        wait: seconds that Ray may take to start or to answer.
        timeout: seconds without an answer after which a private Ray counts as lost.
        note: told that Ray is started, which takes seconds.

    Raises:
        ClusterError: the platform has no Ray, nobody answers at the address, or Ray does not start.
    """
    if sys.platform not in ("linux", "darwin"):
        raise ClusterError(f"Ray workers need Linux or macOS, this is {sys.platform}: use --workers 0")
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
            yield bool(_local)
        finally:
            with signals_deferred():
                stack.close()


def _claim(stack: ExitStack, private: bool) -> bool:
    """Take this process's Ray for this thread's run, or return True if it is connected already.

    Raises:
        ClusterError: another thread's run has it, or the process that this one was forked from.
    """
    with _deciding:
        if _user[0] not in (0, os.getpid()):
            raise ClusterError(
                "this process was forked from one that used Ray, which does not work in a forked process: use "
                "workers=0 here, or start processes by spawn"
            )
        if _broken:
            raise ClusterError(
                "this process's Ray was lost, and it can use no other: use workers=0 here, or start another process"
            )
        if _owner[0] not in (0, threading.get_ident()):
            raise ClusterError(
                "another thread of this process trains on Ray: one after the other, or a process for each"
            )
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            _user[0] = os.getpid()
            return True
        _owner[0] = threading.get_ident()
        stack.callback(_owner.__setitem__, 0, 0)
        try:
            stack.enter_context(ray_environment(private))
        except ImportError as error:
            raise ClusterError(f"Ray cannot be imported ({error}): pip install ray, or use --workers 0") from error
        _user[0] = os.getpid()
    return False


def _start(stack: ExitStack, cpus: int, wait: float, timeout: float, note: Callable[[str], None]) -> None:
    """Start a private Ray and connect to it; ``stack`` ends it."""
    if temporary_folder() != Path(tempfile.gettempdir()):
        note(f"{tempfile.gettempdir()} is too long a path for sockets: Ray's folder is in {temporary_folder()}")
    note("starting Ray on this machine")
    with signals_deferred():  # so that nothing is started that the stack does not know of
        try:
            folder = stack.enter_context(private_folder(temporary_folder()))
        except OSError as error:
            raise ClusterError(
                f"no folder for Ray can be made in {temporary_folder()}: {error.strerror}; set TMPDIR to a folder that "
                "can be written, or use --workers 0"
            ) from error
        local = PrivateRay(folder, cpus, timeout, head_environment(wait))
        stack.callback(local.end)
        _local.append(local)
        stack.callback(_local.clear)
    began = time.monotonic()
    address = local.address(wait)
    stack.callback(_disconnect)
    _connect("the private Ray on this machine", address, wait - (time.monotonic() - began), local)


def _connect(what: str, address: str, wait: float, local: PrivateRay | None = None) -> None:
    """Connect to Ray in a thread of its own, so that no signal comes in the middle and no wait is for ever.

    Raises:
        ClusterError: it cannot be connected to, or not within ``wait`` seconds.
    """
    failed: list[BaseException] = []

    def connect() -> None:
        import ray

        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except BaseException as error:  # whatever it is, the thread that waits must know
            failed.append(error)

    connecting = threading.Thread(target=connect, daemon=True, name="connecting to Ray")
    deadline = time.monotonic() + max(wait, _INTERRUPTED_SECONDS)
    with signals_deferred() as noted:
        connecting.start()
        while connecting.is_alive() and time.monotonic() < deadline:
            connecting.join(_CONNECT_LOOK_SECONDS)
            if noted or (local is not None and local.lost()):
                deadline = min(deadline, time.monotonic() + _INTERRUPTED_SECONDS)
    if connecting.is_alive():
        failed.append(TimeoutError(f"no answer within {wait:.0f} s (--wait)"))
    if failed:
        said = (str(failed[0]).strip().splitlines() or [type(failed[0]).__name__])[0]
        text = f"{what} could not be used: {said}"
        raise ClusterError(text if local is None else local.explained(text)) from failed[0]


def _disconnect() -> None:
    """End the connection in a thread of its own: where Ray is frozen or lost, that may take for ever.

    Of a Ray that was lost nothing is asked: it would end this process from its C++ part.
    """
    import ray

    from distbp.actors.connection.liveness import raylet_answers

    def is_lost() -> bool:
        return _local[0].lost() if _local else not raylet_answers()

    ending = threading.Thread(target=ray.shutdown, daemon=True, name="disconnecting from Ray")
    deadline = time.monotonic() + _DISCONNECT_SECONDS
    is_left = bool(_broken) or is_lost()
    if not is_left:
        ending.start()
        ending.join(_CONNECT_LOOK_SECONDS)
    while not is_left and ending.is_alive():
        is_left = is_lost() or time.monotonic() > deadline
        ending.join(_CONNECT_LOOK_SECONDS)
    reinstall_handlers()
    if is_left:
        leave_alone()


def leave_alone() -> None:
    """Stay connected to a Ray that was lost, and let nothing ask it: not at this process's end, nor at an error's."""
    import ray

    _broken.append(True)
    atexit.unregister(ray.shutdown)
    if sys.excepthook is ray._private.worker.custom_excepthook:  # tells Ray's head first, for minutes
        sys.excepthook = ray._private.worker.normal_excepthook
