"""Checks of parsed JSON, composed as the content is: ``record({"sizes": list_of(whole(least=1)), "cost": text()})``.

A check is a function of a value and its path in the file, such as ``columns[2].name``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distbp.files.json_text import Unexpected, shown

Check = Callable[[Any, str], None]

MOST_WHOLE = 2**53
"""Largest whole number that every program reads exactly from JSON."""


def _unexpected(value: Any, path: str, expected: str) -> Unexpected:
    return Unexpected(f"{f'{path}: ' if path else ''}found {shown(value)}, expected {expected}")


def whole(least: int = 0, most: int = MOST_WHOLE) -> Check:
    """Return the check for a whole number within these bounds."""

    def check(value: Any, path: str) -> None:
        if type(value) is not int or not least <= value <= most:
            raise _unexpected(value, path, f"a whole number from {least} to {most}")

    return check


def number(least: float = -math.inf, most: float = math.inf) -> Check:
    """Return the check for a number within these bounds, whole or not."""

    def check(value: Any, path: str) -> None:
        if type(value) not in (int, float) or value < least or value > most:
            bounds = "" if math.isinf(least) and math.isinf(most) else f" from {least:g} to {most:g}"
            raise _unexpected(value, path, f"a number{bounds}")

    return check


def above_0(value: Any, path: str) -> None:
    """Check that a value is a number above 0."""
    if type(value) not in (int, float) or not value > 0:
        raise _unexpected(value, path, "a number above 0")


def text(longest: int = 100_000, is_path: bool = False) -> Check:
    """Return the check for text of at most this many characters; all text but paths must be valid UTF-8."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or len(value) > longest:
            raise _unexpected(value, path, f"text of at most {longest:,} characters")
        if not value.isascii() and not is_path:
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _unexpected(value, path, "text that UTF-8 can hold") from None

    return check


def flag(value: Any, path: str) -> None:
    """Check that a value is true or false."""
    if not isinstance(value, bool):
        raise _unexpected(value, path, "true or false")


def anything(value: Any, path: str) -> None:
    """Accept any value."""


def one_of(*values: str) -> Check:
    """Return the check for one of these texts."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or value not in values:
            raise _unexpected(value, path, f"one of {', '.join(values)}")

    return check


def of_format(*known: int) -> Check:
    """Return the check for a format number that this version reads."""

    def check(value: Any, path: str) -> None:
        if type(value) is not int or value not in known:
            raise Unexpected(f"found {path} {shown(value)}, this version of distbp reads {', '.join(map(str, known))}")

    return check


def either(*checks: Check, expected: str) -> Check:
    """Return the check that passes if any of these does; ``expected`` describes them in the message."""

    def check(value: Any, path: str) -> None:
        for each in checks:
            try:
                return each(value, path)
            except Unexpected:
                continue
        raise _unexpected(value, path, expected)

    return check


def or_null(inner: Check) -> Check:
    """Return the check for null, or for a value that ``inner`` accepts."""

    def check(value: Any, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def list_of(inner: Check, least: int = 0) -> Check:
    """Return the check for a list of at least this many values, each accepted by ``inner``."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, list) or len(value) < least:
            raise _unexpected(value, path, f"a list of at least {least}" if least else "a list")
        for index, each in enumerate(value):
            inner(each, f"{path}[{index}]")

    return check


def names_to(inner: Check) -> Check:
    """Return the check for an object with any names, whose values ``inner`` accepts."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise _unexpected(value, path, "an object")
        for name, each in value.items():
            inner(each, f"{path}.{shown(name)[1:-1]}" if path else shown(name)[1:-1])

    return check


def record(fields: Mapping[str, Check], optional: Mapping[str, Check] | None = None, is_open: bool = True) -> Check:
    """Return the check for an object with these fields, optional ones, and any others only if it ``is_open``."""
    known: dict[str, Check] = {**fields, **(optional or {})}

    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise _unexpected(value, path, "an object")
        inside = f"{path}." if path else ""
        for name in fields:
            if name not in value:
                raise Unexpected(f"{inside}{name}: found nothing, expected a value")
        for name, each in value.items():
            if name in known:
                known[name](each, f"{inside}{name}")
            elif not is_open:
                raise Unexpected(f"{path + ': ' if path else ''}found the name {shown(name)}, expected {_few(known)}")

    return check


def _few(names: Sequence[str] | Mapping[str, Any]) -> str:
    known = list(names)
    return ", ".join(known[:8]) + (" .." if len(known) > 8 else "")
