"""JSON as distbp stores it: parsed within limits, and sealed by a checksum over its content.

What an object must hold is checked by :mod:`distbp.files.json_checks`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

SUM = "content_sha256"
"""Name of the entry of an object that is the checksum over its other entries."""
_DEEPEST = 32
_LONGEST_WHOLE, _LONGEST_NUMBER = 21, 100
_MOST_SHOWN = 100


class Unexpected(ValueError):
    """A text is not JSON within the limits, or does not have the expected content; the message is one short line."""


def shown(value: Any) -> str:
    """Return a value as a message shows it, in at most a hundred characters.

    >>> shown("a" * 5000)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…' of 5,000 characters"
    >>> shown([1, 2, 3]), shown(None)
    ('a list', 'null')
    """
    if isinstance(value, str):
        if len(value) <= _MOST_SHOWN // 2 + 5:
            return ascii(value) if not value.isprintable() else repr(value)
        return f"{ascii(value[: _MOST_SHOWN // 2 + 5])[:-1]}…' of {len(value):,} characters"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, Mapping):
        return "an object"
    whole = json.dumps(value)
    return whole if len(whole) <= _MOST_SHOWN else f"{whole[:_MOST_SHOWN]}…"


def parse(content: bytes | str, only_finite: bool = True) -> Any:
    """Return the value of a JSON text; infinities and NaN are refused with ``only_finite``.

    Raises:
        Unexpected: the text is not UTF-8 or not JSON, is nested too deep, has a name twice in an object, or a number
            that does not fit in 64 bits.
    """
    try:
        text_ = content.decode("utf-8") if isinstance(content, bytes) else content
        value = json.loads(
            text_,
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_no_constant if only_finite else float,
        )
    except Unexpected:
        raise
    except RecursionError:
        raise Unexpected(f"found values nested more than {_DEEPEST} deep") from None
    except ValueError as error:
        raise Unexpected(str(error)) from error
    _check_depth(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for k, name in enumerate(names) if name in names[:k])
        raise Unexpected(f"found the name {shown(twice)} twice in one object, expected each once")
    return result


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_WHOLE:
        raise Unexpected(f"found a number of {len(digits):,} digits, expected at most 20")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits) if len(digits) <= _LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise Unexpected(f"found the number {digits[:40]}, expected one that 64 bits hold")
    return value


def _no_constant(name: str) -> None:
    raise Unexpected(f"found {name}, expected a finite number")


def _check_depth(value: Any) -> None:
    """Refuse deep nesting, level by level without recursion: later code may then recurse into the value."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise Unexpected(f"found values nested more than {_DEEPEST} deep")


def sum_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of an object's content, which does not depend on blanks or the order of names."""
    as_read = json.loads(json.dumps(content, allow_nan=False))
    return hashlib.sha256(json.dumps(as_read, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with its checksum."""
    return {**content, SUM: sum_of(content)}


def unsealed(content: Any) -> tuple[dict[str, Any], bool]:
    """Return the object without its checksum, and whether it had one.

    Raises:
        Unexpected: the value is no object, or the checksum is wrong.
    """
    if not isinstance(content, dict):
        raise Unexpected(f"found {shown(content)}, expected a JSON object")
    if SUM not in content:
        return content, False
    rest = {name: value for name, value in content.items() if name != SUM}
    if sum_of(rest) != content[SUM]:
        raise Unexpected(f"it is damaged, or was changed by hand: its {SUM} is not that of what it holds")
    return rest, True
