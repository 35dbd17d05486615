"""Numbers from files that may hold anything, and few enough of them for a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_DIGITS = 5
_LONGEST_TEXT = 400


def number(value: Any) -> float | None:
    """Return a finite number with as many digits as a page shows; None for anything else.

    >>> number(0.123456789), number(float("nan")), number("7"), number(True)
    (0.12346, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return float(f"{found:.{_DIGITS}g}") if math.isfinite(found) else None


def moment(value: Any) -> float | None:
    """Return a time in seconds, which has more digits than other numbers; None for what is none."""
    return None if number(value) is None else float(value)


def text(value: Any) -> str:
    """Return a text of bounded length for anything that JSON may hold.

    >>> text(None), text([512, 512]), text(True), text({"yes": 2.0})
    ('none', '512, 512', 'yes', 'yes: 2.0')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        value = [f"{name}: {each}" for name, each in value.items()]
    found = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return found if len(found) <= _LONGEST_TEXT else f"{found[: _LONGEST_TEXT - 1]}…"


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping as it is, and an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def thinned(count: int, most: int) -> list[int]:
    """Return at most ``most`` places of ``count``, evenly, always with the first and the last.

    >>> thinned(5, 10), thinned(10, 4)
    ([0, 1, 2, 3, 4], [0, 3, 6, 9])
    """
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def column(records: Sequence[Mapping[str, Any]], name: str) -> list[float | None]:
    """Return what each record has under a name."""
    return [number(record.get(name)) for record in records]


def seconds_as_text(seconds: float) -> str:
    """Return a duration as people say it.

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
