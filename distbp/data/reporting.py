"""Callbacks by which reading reports what it guessed and how far it is."""

from __future__ import annotations

from collections.abc import Callable

Note = Callable[[str], None]
Progress = Callable[[int, int], None]
"""Told how much of how much has been read."""


def silent(*_: object) -> None:
    """Nobody listens."""
