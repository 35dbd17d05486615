"""Checks against the free memory, before anything large is read."""

from __future__ import annotations

from pathlib import Path

from distbp.errors import DataError
from distbp.system.memory import free_memory

ROWS_MEASURED = 4096
"""Rows that are encoded at a time when a network is evaluated."""
_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 200


def check_memory(needed: int, what: str, advice: str) -> None:
    """Refuse to read ``what`` if it needs more bytes than are free.

    Raises:
        DataError: with both sizes.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise DataError(
            f"{what} would take {needed / 1e9:,.1f} GB of memory, of which {free / 1e9:,.1f} GB are free: {advice}"
        )


def refuse_zip_bomb(path: Path, size: int, advice: str) -> None:
    """Refuse a small compressed file that decompresses to a huge ``size``.

    Raises:
        DataError: it does.
    """
    compressed = path.stat().st_size
    if size > max(_BOMB_BYTES, _BOMB_RATIO * compressed):
        raise DataError(f"{path} is refused: {compressed:,} bytes would become {size:,}; if that is meant, {advice}")
