"""Callbacks by which reading reports to the user."""

from __future__ import annotations

from collections.abc import Callable

Note = Callable[[str], None]
"""Receives a line that the user should see, such as what was guessed."""
Progress = Callable[[int, int], None]
"""Receives the amount that has been read, and the total."""


def silent(*_: object) -> None:
    """Ignore the report."""
