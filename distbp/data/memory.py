"""Whether what is about to be read fits in the memory, asked before any of it is taken."""

from __future__ import annotations

from pathlib import Path

from distbp.errors import DataError
from distbp.system.memory import free_memory

ROWS_MEASURED = 4096
"""Rows that are made inputs at a time, where a network is measured."""
_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 200


def check_memory(needed: int, what: str, cure: str) -> None:
    """Refuse what would take more memory than is free.

    Raises:
        DataError: naming both sizes.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise DataError(
            f"{what} would take {needed / 1e9:,.1f} GB of memory, of which {free / 1e9:,.1f} GB are free: {cure}"
        )


def refuse_zip_bomb(path: Path, size: int, cure: str) -> None:
    """Refuse a compressed file that is small but would fill the memory.

    Raises:
        DataError: it would.
    """
    compressed = path.stat().st_size
    if size > max(_BOMB_BYTES, _BOMB_RATIO * compressed):
        raise DataError(f"{path} is refused: {compressed:,} bytes would become {size:,}; if that is meant, {cure}")
