"""Sources of data as a user gives them: built-in names, files, folders, objects in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distbp.data.dataset import DataSet
from distbp.data.formats.detect import is_table
from distbp.data.lazy import RowSource
from distbp.errors import DataError, unknown_name

BUILT_IN = ("digits",)
"""The data sets that come with the package."""
Source = Any
"""A source is one of these:

- a built-in name, a file or a folder;
- arrays (x, y) or (x, y, weights); x may be sparse;
- a table: pandas, Arrow, polars, Ray Data, or an array of rows and columns;
- a data set of the user's own (:class:`distbp.RowSource`), or the result of :func:`distbp.load`.
"""


def existing_path(source: str | Path) -> Path:
    """Return the path of an existing file or folder.

    Raises:
        DataError: there is none.
        UsageError: the name looks like a built-in name, but is unknown.
    """
    path = Path(source)
    try:
        if path.is_dir() or path.is_file():
            return path
        exists = path.exists()
    except (OSError, ValueError) as error:  # the name is too long, or has a zero byte
        raise DataError(f"{str(path)[:80]!r} is no usable path: {error}") from error
    if exists:
        raise DataError(f"{path} is neither a file nor a folder")
    if len(path.parts) == 1 and not path.suffix:
        raise unknown_name("data set (and no file or folder)", str(path), BUILT_IN)
    raise DataError(f"{path} does not exist")


def sources_name(sources: Sequence[Any]) -> str:
    """Return a short name for the data of these sources."""
    first = sources[0]
    if isinstance(first, DataSet):
        return first.name
    return Path(first).resolve().stem or "data" if isinstance(first, str | Path) else "arrays"


def address_of(source: Source) -> str:
    """Return a built-in name or an absolute path, from which a source can be read again; ``arrays`` if it cannot."""
    if isinstance(source, DataSet | tuple | RowSource) or is_table(source):
        return "arrays"
    if str(source) in BUILT_IN:
        return str(source)
    try:
        return str(Path(source).absolute())
    except TypeError:  # not a valid source; load() reports it
        return str(source)
