"""Which hosts reach each other, and which of them go on where some do not: decisions, and a try to connect."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence

_PATIENCE = 2.0
"""Seconds for one connection."""


def first_unreachable(addresses: Iterable[tuple[str, int]], timeout: float) -> dict[tuple[str, int], str]:
    """Try to connect to these; return the first that is not reached, and why, or nothing."""
    for address in addresses:
        try:
            socket.create_connection(address, timeout=min(_PATIENCE, timeout)).close()
        except OSError as error:
            return {address: error.strerror or str(error)}
    return {}


def hosts_to_leave_out(missed: Sequence[Mapping[int, str] | None], settled: int) -> list[int]:
    """Return who is to be left out, so that those who stay reach each other; nobody if all do.

    Who gave no answer goes alone, since others may have waited for it in vain. Else as few as can be go of the first
    ``settled``, who took part before and so have the state; then the newcomers that do not reach one of those, and
    then as few as can be of the others. Where two miss each other the one that came later goes.

    Args:
        missed: for each host those that it did not reach, and why; None if it gave no answer.
        settled: how many took part before; they come first.

    >>> hosts_to_leave_out([{1: "timed out"}, {0: "timed out"}], 0)
    [1]
    >>> hosts_to_leave_out([{2: "timed out"}, {2: "timed out"}, {0: "timed out"}], 2)
    [2]
    """
    silent = [host for host, others in enumerate(missed) if others is None]
    if silent:
        return silent
    pairs = {frozenset((host, other)) for host, others in enumerate(missed) for other in others or ()}
    out = _fewest(set(range(settled)), pairs)
    kept = set(range(settled)) - out
    newcomers = set(range(settled, len(missed)))
    cut_off = {host for host in newcomers if any(pair <= kept | {host} and host in pair for pair in pairs)}
    return sorted(out | cut_off | _fewest(newcomers - cut_off, pairs))


def _fewest(group: set[int], pairs: set[frozenset[int]]) -> set[int]:
    """Return whom to take from a group until nobody in it misses another one: who misses most, or came last."""
    left, out = set(group), set[int]()
    while True:
        within = {host: sum(host in pair and pair <= left for pair in pairs) for host in left}
        if not any(within.values()):
            return out
        worst = max(left, key=lambda host: (within[host], sum(host in pair for pair in pairs), host))
        left.discard(worst)
        out.add(worst)
