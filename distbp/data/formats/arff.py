"""ARFF, Weka's format: attributes with names and types, followed by rows as in CSV."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from distbp.data.formats.dialect import Dialect
from distbp.data.formats.kinds import DATE, NUMBER, TEXT
from distbp.data.formats.regular_files import open_file
from distbp.data.formats.text import TextTable
from distbp.errors import DataError

_ATTRIBUTE = re.compile(r"""@attribute\s+('(?:[^'\\]|\\.)*'|"[^"]*"|\S+)\s+(.+)""", re.IGNORECASE)
_NUMERIC = {"numeric", "real", "integer"}


def arff_table(path: Path) -> TextTable:
    """Return the table of an ARFF file.

    Raises:
        DataError: an attribute has an unknown type, or the rows are in the sparse form.
    """
    kinds: dict[str, str] = {}
    names: list[str] = []
    start, quote, has_data = 0, "'", False
    try:
        with open_file(path) as file:
            for number, line in enumerate(file, start=1):
                start += len(line)
                text = line.decode("utf-8").strip()
                if text.lower().startswith("@data"):
                    has_data = True
                    break
                if text.lower().startswith("@attribute"):
                    name, kind = _attribute(text, f"{path} line {number}")
                    names.append(name)
                    kinds[name] = kind
            first = file.readline().decode("utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason}; save the file as UTF-8") from error
    if not has_data or not names:
        raise DataError(f"{path} is no ARFF file: expected @attribute lines and @data")
    if first.lstrip().startswith("{"):
        raise DataError(f"{path} holds rows in the sparse form, which distbp does not read: save them in full")
    if '"' in first and "'" not in first:
        quote = '"'
    table = TextTable(path, dialect=Dialect(",", tuple(names), True, start, "%", quote))
    table.select_columns(kinds, names)
    return table


def _attribute(text: str, where: str) -> tuple[str, str]:
    match = _ATTRIBUTE.match(text)
    if match is None:
        raise DataError(f"{where} is no attribute: {text[:60]!r}")
    name, type_ = match[1].strip("'\"").replace("\\'", "'"), match[2].strip()
    word = type_.split()[0].lower()
    if type_.startswith("{") or word == "string":
        values = next(csv.reader([type_.strip("{} ")], quotechar="'", skipinitialspace=True), [])
        booleans = {value.strip().lower() for value in values} == {"true", "false"}
        return name, "boolean" if booleans else TEXT
    if word in _NUMERIC:
        return name, NUMBER
    if word == "date":
        return name, DATE
    raise DataError(f"{where} is of type {type_[:40]!r}: expected numeric, a list of values, string or date")
