"""Which hosts reach each other, and which ones a view leaves out if some do not."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence

_PATIENCE = 2.0
"""Time limit for one connection, in seconds."""


def first_unreachable(addresses: Iterable[tuple[str, int]], timeout: float) -> dict[tuple[str, int], str]:
    """Try to connect to each address; return the first that fails with the reason, else an empty dictionary."""
    for address in addresses:
        try:
            socket.create_connection(address, timeout=min(_PATIENCE, timeout)).close()
        except OSError as error:
            return {address: error.strerror or str(error)}
    return {}


def hosts_to_leave_out(missed: Sequence[Mapping[int, str] | None], settled: int) -> list[int]:
    """Return the hosts to leave out so that all others reach each other.

    If hosts gave no answer, only they are left out, since others may have failed by waiting for them. Otherwise as few
    as possible of the first ``settled`` hosts are left out, which have the state; then the newcomers that do not reach
    one of those that stay; then as few as possible of the other newcomers. Of two hosts that miss each other, the later
    one is left out.

    Args:
        missed: for each host the hosts that it did not reach, with the reasons; None if it gave no answer.
        settled: the number of hosts that took part before; they come first.

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
    staying = set(range(settled)) - out
    newcomers = set(range(settled, len(missed)))
    cut_off = {host for host in newcomers if any(pair <= staying | {host} and host in pair for pair in pairs)}
    return sorted(out | cut_off | _fewest(newcomers - cut_off, pairs))


def _fewest(group: set[int], pairs: set[frozenset[int]]) -> set[int]:
    """Choose hosts to leave out until no unreachable pair remains: most pairs first, then the latest host."""
    left, out = set(group), set[int]()
    while True:
        within = {host: sum(host in pair and pair <= left for pair in pairs) for host in left}
        if not any(within.values()):
            return out
        worst = max(left, key=lambda host: (within[host], sum(host in pair for pair in pairs), host))
        left.discard(worst)
        out.add(worst)
