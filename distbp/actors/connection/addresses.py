"""Whose an address is, and whether a Ray cluster answers there: each thing that may be wrong by its own name."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from distbp.actors.connection.ray_launcher import HELLO
from distbp.errors import ClusterError

_CONNECT_SECONDS = 3.0
_LEAST_SECONDS = 5.0
_PROBE = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"
_PROBE_SETTINGS = {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"}


def is_this_machine(host: str) -> bool:
    """Return whether a host's addresses are all this machine's own, found by opening a port there.

    >>> is_this_machine("127.0.0.1"), is_this_machine("192.0.2.1")
    (True, False)
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as own:
                own.bind(address)
    except (OSError, UnicodeError):
        return False
    return True


def refuse_open_cluster(address: str, insecure: bool) -> None:
    """Refuse to compute on another machine's cluster without a token.

    Raises:
        ClusterError: it is one, or nobody knows the machine.
    """
    if address == "auto":
        return
    host = address.rpartition(":")[0].strip("[]")
    try:
        socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise ClusterError(f"the host name {host!r} of --address {address} is not known here: {said}") from error
    if insecure or os.environ.get("RAY_AUTH_MODE") == "token":
        return
    if not is_this_machine(host):
        raise ClusterError(
            f"the cluster at {address} is on another machine and no token protects it: set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH, or use --insecure"
        )


def check_address(address: str, wait: float) -> None:
    """Find out whether a Ray cluster answers, within ``wait`` seconds.

    Ray itself would wait for minutes, and then end the whole process from its C++ part; so another process asks first.

    Raises:
        ClusterError: none does.
    """
    deadline = time.monotonic() + max(wait, _LEAST_SECONDS)
    _check_token()
    if address != "auto":
        _check_port(address, deadline, wait)
    _probe(address, deadline, wait)


def _check_token() -> None:
    """Refuse the mode of tokens without a token, for which Ray has a page of advice."""
    if os.environ.get("RAY_AUTH_MODE") != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path(os.environ.get("HOME", "/"), ".ray", "auth_token"))
    if not path.is_file():
        raise ClusterError(
            f"RAY_AUTH_MODE=token, but there is no token in {path}: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        )


def _check_port(address: str, deadline: float, wait: float) -> None:
    """Find out whether the port speaks HTTP/2, as Ray's gRPC does, which takes milliseconds where it does not."""
    host, _, port = address.rpartition(":")
    try:
        port_socket = socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS)
    except (OSError, UnicodeError) as error:
        raise ClusterError(
            f"nobody answers at {address}: {getattr(error, 'strerror', None) or error}; is the Ray cluster up?"
        ) from error
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        port_socket.close()
        return  # the handshake needs the certificates, which Ray reads
    with closing(port_socket):
        try:
            port_socket.settimeout(max(_LEAST_SECONDS, deadline - time.monotonic()))
            port_socket.sendall(HELLO)
            frame = port_socket.recv(9)
        except TimeoutError as error:
            raise ClusterError(
                f"{address} takes calls but gave no answer within {wait:g} s (--wait): a Ray head that hangs, or no "
                "Ray cluster"
            ) from error
        except OSError:
            frame = b""
    if len(frame) < 4 or frame[3] != 4:  # the type of settings
        raise ClusterError(f"what answers at {address} is no Ray cluster: give the port of ray start (6379 by default)")


def _probe(address: str, deadline: float, wait: float) -> None:
    """Connect in a process of its own, which Ray may end."""
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE, address],
            capture_output=True,
            text=True,
            timeout=max(_LEAST_SECONDS, deadline - time.monotonic()),
            env={**_PROBE_SETTINGS, **os.environ},
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterError(
            f"the Ray cluster at {address} was not reached within {wait:g} s (--wait): a longer --wait, or look "
            "whether its head and this machine are overloaded"
        ) from error
    if probe.returncode != 0:
        raise ClusterError(_cause(address, probe.stderr))


def _cause(address: str, said: str) -> str:
    """Return what stopped the connection, from what Ray said about it."""
    has_token = os.environ.get("RAY_AUTH_MODE") == "token"
    if "No authentication token" in said or ("uthenticat" in said and not has_token):
        return f"the Ray cluster at {address} wants its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
    if "uthenticat" in said or "nauthorized" in said:
        return f"the Ray cluster at {address} refuses this token: RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH is another's"
    if "Version mismatch" in said:
        versions = " ".join(said[said.index("Version mismatch") :].split())
        return f"the Ray cluster at {address} is of another version: {versions[:300]}"  # fmt: skip
    if "Could not find any running Ray instance" in said:
        return (
            "no Ray cluster runs on this machine (--address auto): ray start --head starts one, and without --address "
            "a run has a Ray of its own"
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"the Ray cluster at {address} could not be used: {lines[-1] if lines else 'Ray ended the connection'}"
