"""Whose an address is: who runs code on a cluster must be this machine, or hold its token."""

from __future__ import annotations

import os
import socket

from distbp.errors import ClusterError


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
        ClusterError: it is one.
    """
    if insecure or address == "auto" or os.environ.get("RAY_AUTH_MODE") == "token":
        return
    if not is_this_machine(address.rpartition(":")[0]):
        raise ClusterError(
            f"the cluster at {address} is on another machine and no token protects it: set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH, or use --insecure"
        )
