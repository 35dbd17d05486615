"""Values of JSON files with unchecked content, converted to short, safe values for a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_DIGITS = 5
_LONGEST_TEXT = 400


def number(value: Any) -> float | None:
    """Return a finite number rounded to the digits that a page shows; None for any other value.

    >>> number(0.123456789), number(float("nan")), number("7"), number(True)
    (0.12346, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        finite = float(value)
    except OverflowError:
        return None
    return float(f"{finite:.{_DIGITS}g}") if math.isfinite(finite) else None


def moment(value: Any) -> float | None:
    """Return a time in seconds without rounding; None for a value that is not a finite number."""
    return None if number(value) is None else float(value)


def text(value: Any) -> str:
    """Return a text of bounded length for any JSON value.

    >>> text(None), text([512, 512]), text(True), text({"yes": 2.0})
    ('none', '512, 512', 'yes', 'yes: 2.0')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        value = [f"{name}: {each}" for name, each in value.items()]
    long = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return long if len(long) <= _LONGEST_TEXT else f"{long[: _LONGEST_TEXT - 1]}…"


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping unchanged, and an empty mapping for any other value."""
    return value if isinstance(value, Mapping) else {}


def thinned(count: int, most: int) -> list[int]:
    """Return at most ``most`` evenly spaced indices below ``count``, the first and the last included.

    >>> thinned(5, 10), thinned(10, 4)
    ([0, 1, 2, 3, 4], [0, 3, 6, 9])
    """
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]


def column(records: Sequence[Mapping[str, Any]], name: str) -> list[float | None]:
    """Return each record's number under a name."""
    return [number(record.get(name)) for record in records]


def seconds_as_text(seconds: float) -> str:
    """Return a duration as text in suitable units.

    >>> [seconds_as_text(each) for each in (0.012, 3.42, 75, 7384, 200_000)]
    ['12 ms', '3.4 s', '1 min 15 s', '2 h 3 min', '2 d 7 h']
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds) // 60, int(seconds) // 3600, int(seconds) // 86400
    if minutes < 60:
        return f"{minutes} min {int(seconds) % 60} s"
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{days} d {hours % 24} h"
