"""Checks that all hosts have the same weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Difference(NamedTuple):
    """A difference between the hosts' weights."""

    steps: int
    """Number of steps that were complete at the comparison."""
    layer: int
    """The first layer that differs, counted from 1."""
    hosts: tuple[int, ...]
    """The hosts that differ from the majority; all hosts if there is no majority."""
    compared: int
    """Number of hosts compared."""


class WeightsDifferError(Exception):
    """The hosts do not have the same weights before a step."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


def difference(steps: int, layers: Mapping[int, Sequence[int]]) -> Difference | None:
    """Compare the hosts' layer hashes; return how they differ, or None if they are equal.

    >>> difference(7, {0: (1, 5), 1: (1, 6), 2: (1, 5)})
    Difference(steps=7, layer=2, hosts=(1,), compared=3)
    >>> difference(7, {0: (1, 5), 1: (1, 5)})
    """
    if len(set(map(tuple, layers.values()))) == 1:
        return None
    for layer, hashes in enumerate(zip(*layers.values(), strict=True), 1):
        value, count = Counter(hashes).most_common(1)[0]
        if count < len(hashes):
            has_majority = 2 * count > len(hashes)
            named = [host for host in layers if not has_majority or layers[host][layer - 1] != value]
            return Difference(steps, layer, tuple(named), len(hashes))
    return None


def describe(difference: Difference, names: Sequence[str]) -> str:
    """Return the error message for a difference; ``names`` are the hosts' names by number."""
    hosts = " and ".join(names[host] for host in difference.hosts)
    if len(difference.hosts) == difference.compared:
        verb, weights, suspect = "have", "different weights", "the memory or the CPU of one of them"
    else:
        weights = f"other weights than the other {difference.compared - len(difference.hosts)} hosts"
        verb, suspect = "have", "the memory or the CPU of them"
        if len(difference.hosts) == 1:
            verb, suspect = "has", "its memory or CPU"
    return (
        f"{hosts} {verb} {weights} after step {difference.steps - 1}, first in layer {difference.layer}: {suspect} "
        "cannot be trusted; nothing was written from these weights"
    )
