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
"""Up to here a whole number is the same in every program that reads JSON."""


def _refuse(value: Any, place: str, expected: str) -> Unexpected:
    return Unexpected(f"{f'{place}: ' if place else ''}found {shown(value)}, expected {expected}")


def whole(least: int = 0, most: int = MOST_WHOLE) -> Check:
    """Expect a whole number within these bounds."""

    def check(value: Any, place: str) -> None:
        if type(value) is not int or not least <= value <= most:
            raise _refuse(value, place, f"a whole number from {least} to {most}")

    return check


def number(least: float = -math.inf, most: float = math.inf) -> Check:
    """Expect a number within these bounds, whole or not."""

    def check(value: Any, place: str) -> None:
        if type(value) not in (int, float) or value < least or value > most:
            bounds = "" if math.isinf(least) and math.isinf(most) else f" from {least:g} to {most:g}"
            raise _refuse(value, place, f"a number{bounds}")

    return check


def above_0(value: Any, place: str) -> None:
    """Expect a number above 0."""
    if type(value) not in (int, float) or not value > 0:
        raise _refuse(value, place, "a number above 0")


def text(longest: int = 100_000, is_path: bool = False) -> Check:
    """Expect text of at most so many characters that UTF-8 can hold, as all but paths must."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, str) or len(value) > longest:
            raise _refuse(value, place, f"text of at most {longest:,} characters")
        if not value.isascii() and not is_path:
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _refuse(value, place, "text that UTF-8 can hold") from None

    return check


def flag(value: Any, place: str) -> None:
    """Expect true or false."""
    if not isinstance(value, bool):
        raise _refuse(value, place, "true or false")


def anything(value: Any, place: str) -> None:
    """Expect nothing."""


def one_of(*values: str) -> Check:
    """Expect one of these texts."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, str) or value not in values:
            raise _refuse(value, place, f"one of {', '.join(values)}")

    return check


def of_format(*known: int) -> Check:
    """Expect one of the format numbers that this version reads."""

    def check(value: Any, place: str) -> None:
        if type(value) is not int or value not in known:
            raise Unexpected(f"found {place} {shown(value)}, this version of distbp reads {', '.join(map(str, known))}")

    return check


def either(*checks: Check, expected: str) -> Check:
    """Expect what one of the checks does; ``expected`` names it."""

    def check(value: Any, place: str) -> None:
        for each in checks:
            try:
                return each(value, place)
            except Unexpected:
                continue
        raise _refuse(value, place, expected)

    return check


def or_null(inner: Check) -> Check:
    """Expect null, or what ``inner`` does."""

    def check(value: Any, place: str) -> None:
        if value is not None:
            inner(value, place)

    return check


def list_of(inner: Check, least: int = 0) -> Check:
    """Expect a list of at least so many values, each as ``inner`` does."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, list) or len(value) < least:
            raise _refuse(value, place, f"a list of at least {least}" if least else "a list")
        for index, each in enumerate(value):
            inner(each, f"{place}[{index}]")

    return check


def names_to(inner: Check) -> Check:
    """Expect an object with any names, whose values are as ``inner`` expects."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise _refuse(value, place, "an object")
        for name, each in value.items():
            inner(each, f"{place}.{shown(name)[1:-1]}" if place else shown(name)[1:-1])

    return check


def record(fields: Mapping[str, Check], optional: Mapping[str, Check] | None = None, is_open: bool = True) -> Check:
    """Expect an object with these fields, perhaps some of the ``optional`` ones, and others only if it ``is_open``."""
    known: dict[str, Check] = {**fields, **(optional or {})}

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise _refuse(value, place, "an object")
        inside = f"{place}." if place else ""
        for name in fields:
            if name not in value:
                raise Unexpected(f"{inside}{name}: found nothing, expected a value")
        for name, each in value.items():
            if name in known:
                known[name](each, f"{inside}{name}")
            elif not is_open:
                raise Unexpected(f"{place + ': ' if place else ''}found the name {shown(name)}, expected {_few(known)}")

    return check


def _few(names: Sequence[str] | Mapping[str, Any]) -> str:
    known = list(names)
    return ", ".join(known[:8]) + (" .." if len(known) > 8 else "")
