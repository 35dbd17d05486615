"""The content of config.json: a run's settings, and beside them its data and its arithmetic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from distbp.config.settings import NEVER_CHANGES_THE_RESULT, Config
from distbp.files.json_checks import (
    Check,
    anything,
    either,
    flag,
    list_of,
    names_to,
    number,
    or_null,
    record,
    text,
    whole,
)
from distbp.files.json_text import sum_of

BESIDE_THE_SETTINGS = ("data", "data_sha256", "arithmetic")
"""The entries of config.json that are no settings."""

_WHOLE = whole(-(2**63), 2**64 - 1)
_PATH = text(is_path=True)
_BY_TYPE: Mapping[str, Check] = {
    "int": _WHOLE,
    "float": number(),
    "bool": flag,
    "str": text(),
    "int | str | Workers": either(_WHOLE, text(), expected="a whole number or text"),
    "int | str": either(_WHOLE, text(), expected="a whole number or text"),
    "str | int": either(_WHOLE, text(), expected="a whole number or text"),
    "tuple[int, ...]": list_of(whole(1)),
    "tuple[str, ...]": list_of(either(_WHOLE, text(), expected="a whole number or text")),
}
"""The form in config.json of a setting of this type."""
_NAME = or_null(text())
_OTHERS: Mapping[str, Check] = {
    "activation": either(text(), list_of(text()), expected="a name or a list of names"),
    "output": _NAME,
    "cost": _NAME,
    "optimizer": text(),
    "schedule": text(),
    "class_weights": or_null(either(text(), names_to(number(0)), expected="balanced or an object")),
    "test_file": or_null(_PATH),
    "data": list_of(_PATH),
    "data_sha256": text(),
    "arithmetic": names_to(either(text(), list_of(text()), expected="text or a list of texts")),
}


def _check_of(annotation: str) -> Check:
    kind = annotation.removesuffix(" | None")
    check = _BY_TYPE.get(kind, anything)
    return check if kind == annotation else or_null(check)


CONFIG_JSON: Check = record({}, {**{field.name: _check_of(str(field.type)) for field in fields(Config)}, **_OTHERS})
"""The form of config.json; :class:`Config` checks the ranges of the settings."""

_DEFAULTS = {field.name: json.loads(json.dumps(field.default)) for field in fields(Config)}


def deciding_sha256(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the entries of config.json that decide the result.

    Settings at their defaults are left out, so that a setting added in a later version does not change the sum.
    """
    entries = json.loads(json.dumps(settings))
    not_deciding = NEVER_CHANGES_THE_RESULT | {"data"}
    return sum_of(
        {
            name: value
            for name, value in entries.items()
            if name not in not_deciding and (name not in _DEFAULTS or value != _DEFAULTS[name])
        }
    )
