"""Text tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], left: bool = False) -> list[str]:
    """Return one line per row, with each column padded to its widest cell.

    >>> aligned([("layer", "nodes"), ("1", "128")]), aligned([("a", "b"), ("long", "")], left=True)
    (['layer  nodes', '    1    128'], ['a     b', 'long'])
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pad = str.ljust if left else str.rjust
    return ["  ".join(pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
