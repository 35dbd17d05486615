"""The network of a run, for the commands that only look at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distbp.model.network import Network


def load_network(run: Path) -> Network:
    """Read the network of a run, and say so where its files carry no sums.

    Raises:
        RunError: it cannot be read.
    """
    from distbp.cli.streams import say
    from distbp.model.network import Network

    network = Network.load(run)
    if not network.has_sums:
        say(f"note: the model in {run} carries no sums, as an earlier version wrote it: damage may not be noticed")
    return network
