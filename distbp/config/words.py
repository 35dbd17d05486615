"""Settings as words of a command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distbp.config.settings import OPTIONS
from distbp.config.values import Columns


def words_of(name: str, value: Any) -> list[str]:
    """Return the option that gives a setting its value.

    >>> words_of("batch_size", 64), words_of("hidden", [64, 32]), words_of("hidden", []), words_of("shuffle", False)
    (['--batch-size', '64'], ['--hidden', '64,32'], ['--hidden', 'none'], ['--no-shuffle'])
    >>> words_of("class_weights", {"yes": 2.0}), words_of("drop", ["a", "b"])
    (['--class-weights', 'yes=2.0'], ['--drop', 'a', '--drop', 'b'])
    """
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    if name in OPTIONS and isinstance(OPTIONS[name].values, Columns):  # whose names may contain commas
        return [word for each in value for word in (f"--{option}", str(each))]
    if isinstance(value, Mapping):
        return [f"--{option}", ",".join(f"{key}={each}" for key, each in value.items())]
    if isinstance(value, list | tuple):
        return [f"--{option}", ",".join(map(str, value)) or "none"]
    return [f"--{option}", str(value)]
