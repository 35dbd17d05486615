"""Check, before Ray connects, that a cluster answers at an address and may be used; if not, find the cause."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from distbp.actors.connection.ray_launcher import HTTP2_PREFACE
from distbp.errors import ClusterError

_CONNECT_SECONDS = 3.0
_LEAST_SECONDS = 5.0
"""Minimum time for the check, whatever --wait is: importing Ray alone takes seconds."""
_PROBE = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR')"
_PROBE_SETTINGS = {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"}


def is_this_machine(host: str) -> bool:
    """Return whether all addresses of a host belong to this machine, by binding a port to each.

    >>> is_this_machine("127.0.0.1"), is_this_machine("192.0.2.1")
    (True, False)
    """
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in addresses:
            with socket.socket(family, kind, protocol) as local:
                local.bind(address)
    except (OSError, UnicodeError):
        return False
    return True


def refuse_open_cluster(address: str, insecure: bool) -> None:
    """Refuse to run on another machine's cluster that no token protects.

    Raises:
        ClusterError: the cluster is open, or its host name is unknown.
    """
    if address == "auto":
        return
    host = address.rpartition(":")[0].strip("[]")
    try:
        socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ClusterError(f"the host name {host!r} of --address {address} is unknown: {reason}") from error
    if insecure or os.environ.get("RAY_AUTH_MODE") == "token":
        return
    if not is_this_machine(host):
        raise ClusterError(
            f"the cluster at {address} is on another machine and no token protects it: set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH, or use --insecure"
        )


def check_address(address: str, wait: float) -> None:
    """Check that a Ray cluster answers within ``wait`` seconds.

    Ray itself would wait for minutes and then end the whole process from its C++ code, so a child process tries first.

    Raises:
        ClusterError: no cluster answers; the message gives the cause.
    """
    deadline = time.monotonic() + max(wait, _LEAST_SECONDS)
    _check_token()
    if address != "auto":
        _check_port(address, deadline, wait)
    _probe(address, deadline, wait)


def _check_token() -> None:
    """Refuse token mode without a token, for which Ray would print a page of advice."""
    if os.environ.get("RAY_AUTH_MODE") != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path(os.environ.get("HOME", "/"), ".ray", "auth_token"))
    if not path.is_file():
        raise ClusterError(
            f"RAY_AUTH_MODE=token, but there is no token in {path}: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        )


def _check_port(address: str, deadline: float, wait: float) -> None:
    """Check that the port speaks HTTP/2, which Ray's gRPC uses; another server is recognized in milliseconds."""
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS)
    except (OSError, UnicodeError) as error:
        raise ClusterError(
            f"cannot connect to {address}: {getattr(error, 'strerror', None) or error}; is the Ray cluster up?"
        ) from error
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        connection.close()
        return  # the handshake needs certificates, which Ray reads
    with closing(connection):
        try:
            connection.settimeout(max(_CONNECT_SECONDS, deadline - time.monotonic()))
            connection.sendall(HTTP2_PREFACE)
            frame = connection.recv(9)
        except TimeoutError as error:
            raise ClusterError(
                f"{address} accepts connections but did not answer within {_limit(wait)}: a Ray head that hangs, or no "
                "Ray cluster"
            ) from error
        except OSError:
            frame = b""
    if len(frame) < 4 or frame[3] != 4:  # the type of a SETTINGS frame
        raise ClusterError(
            f"the server at {address} is not a Ray cluster: give the port of ray start (6379 by default)"
        )


def _probe(address: str, deadline: float, wait: float) -> None:
    """Connect from a child process, which Ray may end."""
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
            f"the Ray cluster at {address} did not answer within {_limit(wait)}: use a longer --wait, or check whether "
            "its head or this machine is overloaded"
        ) from error
    if probe.returncode != 0:
        raise ClusterError(_cause(address, probe.stderr))


def _limit(wait: float) -> str:
    """Return how long the check waits, in words."""
    if wait < _LEAST_SECONDS:
        return f"{_LEAST_SECONDS:g} s (the minimum; --wait is {wait:g})"
    return f"{wait:g} s (--wait)"


def _cause(address: str, output: str) -> str:
    """Return why the connection failed, from Ray's output."""
    has_token = os.environ.get("RAY_AUTH_MODE") == "token"
    if "No authentication token" in output or ("uthenticat" in output and not has_token):
        return f"the Ray cluster at {address} needs a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
    if "uthenticat" in output or "nauthorized" in output:
        return (
            f"the Ray cluster at {address} refuses the token of RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH: use that "
            "cluster's token"
        )
    if "Version mismatch" in output:
        versions = " ".join(output[output.index("Version mismatch") :].split())
        return f"the Ray cluster at {address} has another version: {versions[:300]}"
    if "Could not find any running Ray instance" in output:
        return (
            "no Ray cluster runs on this machine (--address auto): start one with ray start --head, or leave --address "
            "out for a private Ray"
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return f"cannot use the Ray cluster at {address}: {lines[-1] if lines else 'Ray ended the connection'}"
