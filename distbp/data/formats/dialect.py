"""The dialect of a table of text, guessed from its first lines: separator, header, comments."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distbp.data.formats.kinds import MISSING
from distbp.errors import DataError, UsageError

SAMPLE = 1 << 18
"""Bytes at the beginning of a file from which the dialect is guessed."""
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space"}
"""The separators that a user can name."""
_MOST_LINES = 200
_MOST_CELLS = 10_000
_SHARE_OF_NUMBERS = 0.95


@dataclass(frozen=True)
class Dialect:
    """How a table of text is written."""

    separator: str
    names: tuple[str, ...]
    header: bool
    start: int
    """Offset of the first row, in bytes."""
    comment: str = ""
    """The beginning of comment lines; empty for none."""
    quote: str = '"'


def guess_dialect(name: str, sample: bytes, separator: str | None, header: bool | None) -> Dialect:
    """Guess separator, header and comments of a text from its first lines.

    Args:
        name: name of the table in messages.
        sample: the beginning of the file.
        separator: a character or its name; None to guess it.
        header: whether the first row names the columns; None to guess it.

    Raises:
        DataError: the file is not a table of text.
    """
    _refuse_other_than_text(name, sample)
    start = 3 if sample.startswith(b"\xef\xbb\xbf") else 0
    lines = [f"{line}\n" for line in sample[start:].decode("utf-8", "surrogateescape").split("\n")]
    lines = (lines[:-1] if len(sample) >= SAMPLE and len(lines) > 1 else lines)[:_MOST_LINES]
    comment = ""
    if any(line.startswith("|") for line in lines) and not all(line.startswith("|") for line in lines):
        comment = "|" if separator != "|" else ""
    content = [line for line in lines if line.strip() and not (comment and line.startswith(comment))]
    separator = _guess_separator(content) if separator is None else _named_separator(separator)
    try:
        rows = [_cells(line, separator) for line in content]
    except csv.Error as error:
        raise DataError(f"{name} is no table of text: {error}") from error
    if header is None:
        header = _is_header(rows)
    if header:
        for line in lines:
            start += len(line.encode("utf-8", "surrogateescape"))
            if line.strip() and not (comment and line.startswith(comment)):
                break
    names = tuple(cell.strip() for cell in rows[0]) if header else tuple(str(k) for k in range(len(rows[0])))
    if any("\udc80" <= character <= "\udcff" for each in names for character in each):
        raise DataError(f"{name} has a header that is not UTF-8 text: save the file as UTF-8")
    return Dialect(separator, names, header, start, comment)


def _refuse_other_than_text(name: str, sample: bytes) -> None:
    if not sample.strip():
        raise DataError(f"{name} is empty: expected a table")
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{name} is UTF-16 text: save the file as UTF-8")
    if b"\0" in sample[:4096]:
        raise DataError(f"{name} is of no known kind: it is neither text nor a format that distbp reads")


def _cells(line: str, separator: str) -> list[str]:
    if separator == " ":
        return line.split()
    return next(csv.reader([line], delimiter=separator), [])


def _named_separator(given: str) -> str:
    by_name = {name: character for character, name in NAMES.items()}
    separator = by_name.get(given, "\t" if given == "\\t" else given)
    if len(separator) != 1 or not separator.isascii() or separator in '\r\n"':
        raise UsageError(f"separator {given!r} is no single character, nor one of {', '.join(by_name)}")
    return separator


def are_mostly_numbers(cells: Any) -> bool:
    """Return whether a column of text is probably a column of numbers with a mistake in it."""
    present = [text for text in cells.slice(0, _MOST_CELLS).to_pylist() if isinstance(text, str)]
    numbers = sum(map(_is_number, present))
    return numbers >= _SHARE_OF_NUMBERS * len(present) > 0 and numbers >= 2


def _guess_separator(lines: Sequence[str]) -> str:
    """Return the separator that splits most lines into the same number of cells, and into as many as possible."""
    best, best_score = ",", (0.0, 0)
    for separator in (",", "\t", ";", "|", " "):
        try:
            counts = Counter(len(_cells(line, separator)) for line in lines)
        except csv.Error:
            continue
        count, often = counts.most_common(1)[0]
        score = (round(often / len(lines), 1), count)
        if count > 1 and score > best_score and (separator != " " or best_score[0] < 0.9):
            best, best_score = separator, score
    return best


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row names the columns: words above numbers, or words that occur in no row below."""
    first, rest = [cell.strip() for cell in rows[0]], rows[1:]
    if any(_is_number(cell) or cell in MISSING for cell in first):
        return False
    columns = [[row[k].strip() for row in rest if k < len(row)] for k in range(len(first))]
    present = [[cell for cell in column if cell not in MISSING] for column in columns]
    if any(column and all(map(_is_number, column)) for column in present):
        return True
    return all(name not in column for name, column in zip(first, columns, strict=True))
