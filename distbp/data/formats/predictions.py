"""Files of predictions in CSV, JSON lines or Parquet, written block by block."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

from distbp.data.dataset import Array
from distbp.data.formats.table import arrow
from distbp.errors import UsageError

ENDINGS = (".csv", ".jsonl", ".parquet")


class Writer(Protocol):
    """Writes blocks of rows."""

    def write(self, names: Sequence[Any] | None, numbers: Array) -> None:
        """Write the class of each row, if there are classes, and its numbers, shape (rows, columns)."""


class TextWriter:
    """Writes CSV or JSON lines. A template formats whole rows, several times faster than formatting single cells."""

    def __init__(self, file: TextIO, head: str, template: str, quote: Any) -> None:
        self._file, self._template, self._quote = file, template, quote
        self._quoted: dict[Any, str] = {}
        file.write(head)

    def write(self, names: Sequence[Any] | None, numbers: Array) -> None:
        """Write rows."""
        columns: list[Sequence[Any]] = numbers.T.tolist()
        if names is not None:
            self._quoted |= {name: self._quote(name) for name in set(names) if name not in self._quoted}
            columns.insert(0, [self._quoted[name] for name in names])
        template = self._template
        self._file.write("".join([template % row for row in zip(*columns, strict=True)]))


class ParquetWriter:
    """Writes Parquet, one row group per block."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        arrow("writing Parquet", "pyarrow.parquet")
        self._path, self._header = path, header
        self._writer: Any = None

    def write(self, names: Sequence[Any] | None, numbers: Array) -> None:
        """Write rows."""
        pa, parquet = arrow("writing Parquet"), arrow("writing Parquet", "pyarrow.parquet")
        columns = [pa.array(np.ascontiguousarray(column)) for column in numbers.T]
        rows = pa.table([*([] if names is None else [pa.array(names)]), *columns], names=list(self._header))
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._path, rows.schema)
        self._writer.write_table(rows)

    def close(self) -> None:
        """Complete the file."""
        if self._writer is not None:
            self._writer.close()


def check_ending(path: Path) -> None:
    """Refuse a folder, and a file whose ending is not that of a format for predictions."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file to write to")
    if path.suffix.lower() not in ENDINGS and not (path.exists() and not path.is_file()):
        raise UsageError(f"{path} must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")


@contextmanager
def writer(path: Path | None, file: TextIO | None, kind: str, header: Sequence[str], form: str) -> Iterator[Writer]:
    """Yield a writer of rows, to ``path`` or to the open ``file``.

    Args:
        path: the file to write; None if ``file`` is given.
        file: an open file.
        kind: the ending that names the format.
        header: names of the columns; a first column ``class`` holds the classes.
        form: printf-style format of a number.
    """
    if kind == ".parquet":
        assert path is not None
        parquet_writer = ParquetWriter(path, header)
        try:
            yield parquet_writer
        finally:
            parquet_writer.close()
        return
    has_class = header[0] == "class"
    forms = ["%s" if has_class and k == 0 else form for k in range(len(header))]
    if kind == ".jsonl":
        pairs = (f"{json.dumps(name).replace('%', '%%')}: {each}" for name, each in zip(header, forms, strict=True))
        head, template = "", "{" + ", ".join(pairs) + "}\n"
        quote: Any = json.dumps
    else:
        head, template, quote = _csv_line(header), ",".join(forms) + "\n", _csv_cell
    if file is not None:
        yield TextWriter(file, head, template, quote)
        return
    assert path is not None
    with path.open("w", encoding="utf-8", newline="") as opened:
        yield TextWriter(opened, head, template, quote)


def _csv_line(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _csv_cell(cell: Any) -> str:
    return _csv_line([cell, ""])[:-2]
