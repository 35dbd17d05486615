"""The program that starts a private Ray and watches it: Ray's processes are its children, never the driver's.

The driver runs this file by its path, in a separate session, and communicates with it through pipes. So Ray never
forks the driver, whose other threads may be in the middle of a BLAS call: OpenBLAS ends its threads on a fork, and the
matrix product waits for them forever. A Ctrl-C at a terminal or a killed driver leaves nothing behind: at the end of
its standard input this program kills all processes of its session, waits for them and exits.

It writes one JSON object per line: ``{"address": ..}`` when Ray is up, ``{"failed": ..}`` if it does not start, and
``{"lost": .., "why": ..}`` when one of Ray's two processes ends or does not answer within the timeout.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_WATCHED = "gcs_server", "raylet"
_LOOK_SECONDS = 0.2
_PING_SECONDS = 1.0
_KILL_SECONDS = 5.0
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of Linux's prctl."""
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""The preface of an HTTP/2 connection with an empty SETTINGS frame; a gRPC server answers with its own SETTINGS."""


class Ping:
    """Pings a gRPC server at intervals, without ever blocking on it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._socket: socket.socket | None = None
        self._next = 0.0
        self.silent = 0.0
        """Seconds without an answer to the open ping, not counting time when this process itself was stopped."""

    def poll(self, now: float, passed: float) -> None:
        """Check the open ping for an answer, or send the next one when it is due."""
        if self._socket is None:
            if now >= self._next:
                self._send()
            return
        self.silent += passed
        try:
            self._socket.recv(9)
            answered = True  # so is a closed connection: a TLS server does not understand the preface
        except BlockingIOError:
            return
        except ConnectionResetError:
            answered = True
        except OSError:
            answered = False  # watch() notices a dead process; the server may just be out of connections
        self._socket.close()
        self._socket, self._next = None, now + _PING_SECONDS
        if answered:
            self.silent = 0.0

    def _send(self) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET)
        self._socket.settimeout(1.0)
        with contextlib.suppress(OSError):
            self._socket.connect(self._address)
            self._socket.sendall(HTTP2_PREFACE)
        self._socket.setblocking(False)


def send(**message: Any) -> None:
    """Send a message to the driver, which may be gone."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(message).encode() + b"\n")


def start(request: dict[str, Any]) -> Any:
    """Start a Ray head node as ``ray.init`` does, without connecting to it."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams
    from ray._private.resource_isolation_config import ResourceIsolationConfig

    # Ray makes every folder passed to it world-writable, so it gets subfolders of our private one.
    folder = Path(request["folder"])
    params = RayParams(
        num_cpus=request["cpus"],
        include_dashboard=False,
        include_log_monitor=False,  # nothing reads its messages
        no_monitor=True,  # the autoscaler, which has nothing to scale
        temp_dir=str(folder / "ray_head"),
        plasma_directory=request["memory"],
        # Not deep in Ray's folder: the path of a socket is limited to 107 bytes, 103 on macOS.
        plasma_store_socket_name=str(folder / "ray_sockets" / "store"),
        raylet_socket_name=str(folder / "ray_sockets" / "raylet"),
        resource_isolation_config=ResourceIsolationConfig(),
    )
    return Node(params, head=True, shutdown_at_exit=False, spawn_reaper=True, ray_init_cluster=True)


def watch(node: Any, timeout: float) -> None:
    """Report each of Ray's processes once if it ends or does not answer for ``timeout`` seconds."""
    host, port = node.gcs_address.rpartition(":")[::2]
    processes = {kind: node.all_processes[kind][0].process for kind in _WATCHED}
    pings = {"gcs_server": Ping(host, int(port)), "raylet": Ping(host, int(node.node_manager_port))}
    before = time.monotonic()
    while processes:
        time.sleep(_LOOK_SECONDS)
        now = time.monotonic()
        # Time when this process itself was stopped, perhaps with the whole machine, does not count as silence.
        passed, before = min(now - before, 2 * _LOOK_SECONDS), now
        for kind in list(processes):
            code = processes[kind].poll()
            pings[kind].poll(now, passed)
            if code is not None:
                send(lost=kind, why=ended(code))
            elif pings[kind].silent > timeout:
                send(lost=kind, why=f"gave no answer for {timeout:g} s (--timeout)")
            else:
                continue
            del processes[kind]


def ended(code: int) -> str:
    """Return how a process ended, in words.

    >>> ended(-9), ended(1)
    ('was killed (SIGKILL)', 'ended (exit code 1)')
    """
    if code >= 0:
        return f"ended (exit code {code})"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed ({names.get(-code, f'signal {-code}')})"


def session_processes(session: int) -> Iterator[int]:
    """Yield the live processes of a session except its leader."""
    for entry in Path("/proc").iterdir() if Path("/proc/self/stat").exists() else ():
        with contextlib.suppress(OSError, ValueError):
            # after the name in brackets, which may contain any character: state, parent, group, session
            state, _, _, session_of_entry = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session_of_entry) == session and int(entry.name) != session and state not in "ZX":
                yield int(entry.name)


def kill_session(session: int) -> None:
    """Kill all processes of a session except its leader, in all process groups, until none is left."""
    deadline = time.monotonic() + _KILL_SECONDS
    while (processes := list(session_processes(session))) and time.monotonic() < deadline:
        for process in processes:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


def died_early() -> str:
    """Return which of Ray's processes died before Ray was up, and how; Ray itself would go on waiting for it."""
    for entry in Path("/proc").iterdir() if Path("/proc/self/stat").exists() else ():
        with contextlib.suppress(OSError, ValueError):
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            state, parent = rest.split()[:2]
            if state == "Z" and int(parent) == os.getpid() and name in _WATCHED:
                result = os.waitid(os.P_PID, int(entry.name), os.WEXITED | os.WNOWAIT | os.WNOHANG)
                if result is not None:
                    code = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
                    return f"{name} {ended(code)}"
    return ""


def end_with_input(nodes: list[Any]) -> None:
    """Wait for the end of standard input, then end Ray and this process; until Ray is up, report what dies."""
    while not select.select([0], [], [], None if nodes else _LOOK_SECONDS)[0]:
        if not nodes and (died := died_early()):
            send(failed=died)
    if not Path("/proc/self/stat").exists():  # macOS
        for node in nodes:
            node.kill_all_processes(check_alive=False, allow_graceful=True)
    kill_session(os.getpid())
    with contextlib.suppress(OSError):  # reap the children: in a container no other process may do it
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    os._exit(0)  # without exit handlers: Ray's would call the dead processes


def main() -> None:
    """Start Ray as the first line of standard input requests, and run until that input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda number, frame: None)  # not SIG_IGN, which Ray's processes would inherit
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)  # orphans of Ray become children of this process
    with open(0, "rb", buffering=0, closefd=False) as unbuffered:  # unbuffered, so that only the first line is consumed
        request = json.loads(unbuffered.readline())
    nodes: list[Any] = []
    threading.Thread(target=end_with_input, args=(nodes,), daemon=True).start()
    try:
        nodes.append(start(request))
        send(address=nodes[0].gcs_address)
        watch(nodes[0], request["timeout"])
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        send(failed=f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
