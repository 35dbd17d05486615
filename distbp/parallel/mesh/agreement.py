"""Whether hosts that must have the same weights have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Difference(NamedTuple):
    """Weights that differ between hosts."""

    steps: int
    """After how many steps."""
    layer: int
    """The first one, counted from 1."""
    hosts: tuple[int, ...]
    """The numbers of those that differ from most others; all, where no more than half are alike."""
    compared: int
    """How many hosts were compared."""


class WeightsDifferError(Exception):
    """The hosts' weights before a step differ."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


def difference(steps: int, layers: Mapping[int, Sequence[int]]) -> Difference | None:
    """Return how the hosts' weights differ, by the hashes of each one's layers; None if they do not.

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


def describe(found: Difference, names: Sequence[str]) -> str:
    """Say what was found, with the hosts' names by their numbers."""
    who = " and ".join(names[host] for host in found.hosts)
    than = f"other weights than the other {found.compared - len(found.hosts)} hosts"
    if len(found.hosts) == found.compared:
        than = "different weights"
    verb, whose = ("has", "its memory or CPU") if len(found.hosts) == 1 else ("have", "the memory or the CPU of them")
    if len(found.hosts) == found.compared:
        whose = "the memory or the CPU of one of them"
    return (
        f"{who} {verb} {than} after step {found.steps - 1}, first in layer {found.layer}: {whose} cannot be trusted; "
        "nothing was written from these weights"
    )
