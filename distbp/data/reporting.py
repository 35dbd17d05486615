"""Callbacks by which reading reports to the user."""

from __future__ import annotations

from collections.abc import Callable

Note = Callable[[str], None]
"""Receives a line that the user should see, such as what was guessed."""
Progress = Callable[[int, int], None]
"""Receives how much of how much has been read."""


def silent(*_: object) -> None:
    """Ignore the report."""
