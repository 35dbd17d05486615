"""Files of one JSON object with a checksum, and files of JSON lines; both are read within limits."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from distbp.errors import RunError
from distbp.files.atomic import atomic_write
from distbp.files.json_checks import Check, anything
from distbp.files.json_text import SUM, Unexpected, parse, sealed, unsealed
from distbp.files.regular import cannot_be_read, open_regular, read_bytes

MOST_JSON = 64 << 20
"""Most bytes of a JSON object."""
MOST_LINES, _LONGEST_LINE = 256 << 20, 4 << 20
"""Most bytes of a file of JSON lines, and of a line in it."""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write one JSON object, indented, with a checksum.

    Raises:
        RunError: it cannot be written, or is too long to be read again.
    """
    text = json.dumps(sealed(content), indent=2, allow_nan=False)
    if len(text) >= MOST_JSON:
        raise RunError(f"{path} cannot be written: {len(text):,} bytes, expected at most {MOST_JSON:,}")
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, expected: Check = anything, most: int = MOST_JSON) -> dict[str, Any]:
    """Read one JSON object of at most ``most`` bytes; its checksum, if there is one, is verified and removed.

    Raises:
        RunError: the file is missing, not a regular file, damaged, or does not pass the check ``expected``.
    """
    return read_sealed(path, expected, most)[0]


def read_sealed(path: Path, expected: Check = anything, most: int = MOST_JSON) -> tuple[dict[str, Any], bool]:
    """Read one JSON object as :func:`read_json` does; return it, and whether it had a checksum.

    Raises:
        RunError: as :func:`read_json`.
    """
    content = read_bytes(path, most)
    try:
        value = parse(content)
        if isinstance(value, dict):  # before the checksum, since this check reports another version of the format
            expected({name: each for name, each in value.items() if name != SUM}, "")
        return unsealed(value)
    except Unexpected as error:
        raise cannot_be_read(path, error) from error


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a regular file, with their line ends.

    Raises:
        RunError: it is missing, not a regular file, too long, or has too long a line.
    """
    left = MOST_LINES
    try:
        with open_regular(path) as file:
            while line := file.readline(_LONGEST_LINE + 1):
                left -= len(line)
                if left < 0 or len(line) > _LONGEST_LINE:
                    what = f"a line of more than {_LONGEST_LINE:,}" if left >= 0 else f"more than {MOST_LINES:,}"
                    raise RunError(f"{path} cannot be read: found {what} bytes, expected at most that")
                yield line
    except (OSError, ValueError) as error:
        raise cannot_be_read(path, error) from error


def for_json(value: Any) -> Any:
    """Return the value with None for numbers that JSON cannot hold, also within lists and dictionaries."""
    if isinstance(value, Mapping):
        return {name: for_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [for_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
