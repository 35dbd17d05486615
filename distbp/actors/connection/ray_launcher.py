"""The program that starts a private Ray and stays with it: Ray's processes are its children, never the driver's.

The driver runs this file by its path, in a session of its own, and speaks to it through pipes. So nothing of Ray's
start forks the driver, whose other threads may be in the middle of BLAS: OpenBLAS ends its threads in a fork, while a
product waits for them for ever. And a Ctrl-C at a terminal, or a driver that is killed, leaves nothing behind: when its
standard input ends, this program kills all processes of its session, waits for them and ends.

It writes one JSON object per line: ``{"address": ..}`` when Ray is up, ``{"failed": ..}`` if it does not come up, and
``{"lost": .., "why": ..}`` when one of Ray's two processes ends or gives no answer for the timeout.
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
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How HTTP/2 begins, with empty settings; a gRPC server answers with its own settings."""


class Ping:
    """Asks a gRPC server again and again whether it still answers, without ever waiting for it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._socket: socket.socket | None = None
        self._next = 0.0
        self.silent = 0.0
        """Seconds for which a question has had no answer, as far as this process itself ran meanwhile."""

    def look(self, now: float, passed: float) -> None:
        """Go on with the question that is open, or ask the next one when it is time."""
        if self._socket is None:
            if now >= self._next:
                self._ask()
            return
        self.silent += passed
        try:
            self._socket.recv(9)
            answered = True  # hanging up is an answer too: a server under TLS does not know these words
        except BlockingIOError:
            return
        except ConnectionResetError:
            answered = True
        except OSError:
            answered = False  # its process's end is seen elsewhere; it may just have no room for calls
        self._socket.close()
        self._socket, self._next = None, now + _PING_SECONDS
        if answered:
            self.silent = 0.0

    def _ask(self) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET)
        self._socket.settimeout(1.0)
        with contextlib.suppress(OSError):
            self._socket.connect(self._address)
            self._socket.sendall(HELLO)
        self._socket.setblocking(False)


def say(**what: Any) -> None:
    """Write a line for the driver, which may be gone."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(what).encode() + b"\n")


def start(asked: dict[str, Any]) -> Any:
    """Start Ray's head node as ``ray.init`` would, without connecting to it."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams
    from ray._private.resource_isolation_config import ResourceIsolationConfig

    # Ray lets everybody write to each folder that it is given: none of them is the private one itself.
    folder = Path(asked["folder"])
    params = RayParams(
        num_cpus=asked["cpus"],
        include_dashboard=False,
        include_log_monitor=False,  # nobody reads what it would send
        no_monitor=True,  # the autoscaler's: there is nothing to scale
        temp_dir=str(folder / "ray_head"),
        plasma_directory=asked["memory"],
        # Not deep in Ray's folder: the path of a socket may have 107 bytes, 103 on macOS.
        plasma_store_socket_name=str(folder / "ray_sockets" / "store"),
        raylet_socket_name=str(folder / "ray_sockets" / "raylet"),
        resource_isolation_config=ResourceIsolationConfig(),
    )
    return Node(params, head=True, shutdown_at_exit=False, spawn_reaper=True, ray_init_cluster=True)


def watch(node: Any, timeout: float) -> None:
    """Tell of Ray's processes that end, or give no answer for ``timeout`` seconds, once each."""
    host, port = node.gcs_address.rpartition(":")[::2]
    processes = {kind: node.all_processes[kind][0].process for kind in _WATCHED}
    pings = {"gcs_server": Ping(host, int(port)), "raylet": Ping(host, int(node.node_manager_port))}
    before = time.monotonic()
    while processes:
        time.sleep(_LOOK_SECONDS)
        now = time.monotonic()
        # Where this process itself was stopped, with the whole machine perhaps, nobody else was silent.
        passed, before = min(now - before, 2 * _LOOK_SECONDS), now
        for kind in list(processes):
            code = processes[kind].poll()
            pings[kind].look(now, passed)
            if code is not None:
                say(lost=kind, why=ended(code))
            elif pings[kind].silent > timeout:
                say(lost=kind, why=f"gave no answer for {timeout:g} s (--timeout)")
            else:
                continue
            del processes[kind]


def ended(code: int) -> str:
    """Return in words how a process ended.

    >>> ended(-9), ended(1)
    ('was killed (SIGKILL)', 'ended (exit code 1)')
    """
    if code >= 0:
        return f"ended (exit code {code})"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed ({names.get(-code, f'signal {-code}')})"


def session_processes(session: int) -> Iterator[int]:
    """Yield the processes of a session that live, but for its leader."""
    for entry in Path("/proc").iterdir() if Path("/proc/self/stat").exists() else ():
        with contextlib.suppress(OSError, ValueError):
            # after the name in brackets, which may hold anything: state, parent, group, session
            state, _, _, its = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its) == session and int(entry.name) != session and state not in "ZX":
                yield int(entry.name)


def kill_session(session: int) -> None:
    """Kill all processes of a session but for its leader, of whatever group, until there are none."""
    deadline = time.monotonic() + _KILL_SECONDS
    while (found := list(session_processes(session))) and time.monotonic() < deadline:
        for process in found:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


def died_early() -> str:
    """Return which of Ray's processes has died before Ray was up, and how; Ray would wait for it all the same."""
    for entry in Path("/proc").iterdir() if Path("/proc/self/stat").exists() else ():
        with contextlib.suppress(OSError, ValueError):
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            state, parent = rest.split()[:2]
            if state == "Z" and int(parent) == os.getpid() and name in _WATCHED:
                found = os.waitid(os.P_PID, int(entry.name), os.WEXITED | os.WNOWAIT | os.WNOHANG)
                if found is not None:
                    code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
                    return f"{name} {ended(code)}"
    return ""


def end_with_input(nodes: list[Any]) -> None:
    """Wait for the end of standard input, then end Ray and this process; until Ray is up, tell what dies."""
    while not select.select([0], [], [], None if nodes else _LOOK_SECONDS)[0]:
        if not nodes and (died := died_early()):
            say(failed=died)
    if not Path("/proc/self/stat").exists():  # macOS
        for node in nodes:
            node.kill_all_processes(check_alive=False, allow_graceful=True)
    kill_session(os.getpid())
    with contextlib.suppress(OSError):  # the children are ours to bury; in a container nobody else might
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    os._exit(0)  # at once: what Ray has in this process would ask the processes that are dead


def main() -> None:
    """Start Ray as the first line of standard input asks, and stay until that input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda number, frame: None)  # not ignored: that would be passed on to Ray
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)  # Ray's own children become ours when it dies
    with open(0, "rb", buffering=0, closefd=False) as unbuffered:  # no more than a line is taken
        asked = json.loads(unbuffered.readline())
    nodes: list[Any] = []
    threading.Thread(target=end_with_input, args=(nodes,), daemon=True).start()
    try:
        nodes.append(start(asked))
        say(address=nodes[0].gcs_address)
        watch(nodes[0], asked["timeout"])
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        say(failed=f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
