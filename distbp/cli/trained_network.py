"""The trained network of a run, and the options of the commands that apply it to tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from distbp.model.network import Network


def load_network(run: Path) -> Network:
    """Load the network of a run, and print a note if its files have no checksums.

    Raises:
        RunError: it cannot be read.
    """
    from distbp.cli.streams import echo_stderr
    from distbp.model.network import Network

    network = Network.load(run)
    if not network.has_sums:
        echo_stderr(
            f"note: the model in {run} has no checksums (an earlier version wrote it): damage may go undetected"
        )
    return network


def table_text_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for reading tables in text files."""
    header = click.option(
        "--header/--no-header", default=None, help="Whether a table's first row names the columns.  [default: guessed]"
    )
    separator = click.option(
        "--separator", metavar="CHARACTER", help="Separator of a text table's cells.  [default: guessed]"
    )
    return separator(header(command))
