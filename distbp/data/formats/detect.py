"""From a path, or an object that is a table, to the tables that it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from distbp.data.formats.arff import arff_table
from distbp.data.formats.images import image_files, image_table
from distbp.data.formats.npy import MAGIC
from distbp.data.formats.table import Table, begins
from distbp.data.formats.text import TextTable
from distbp.data.formats.typed import array_table, arrow_table, npy_table, parquet_table, ray_table
from distbp.errors import DataError


def is_table(source: Any) -> bool:
    """Return whether an object in memory is a table: Arrow, pandas, polars, Ray Data, an array of rows and columns."""
    return hasattr(source, "__arrow_c_stream__") or _is_ray_data(source) or isinstance(source, np.ndarray)


def table_of(source: Any) -> Table:
    """Return the table of such an object."""
    if isinstance(source, np.ndarray):
        return array_table(source, "the array")
    return ray_table(source) if _is_ray_data(source) else arrow_table(source)


def _is_ray_data(source: Any) -> bool:
    return hasattr(source, "iter_batches") and hasattr(source, "schema")


def file_table(path: Path, separator: str | None = None, header: bool | None = None) -> Table:
    """Return the table of a file.

    Raises:
        DataError: it is of no known kind, or damaged.
    """
    ending = path.suffix.lower()
    if begins(path, b"PAR1") or ending in (".parquet", ".pq"):
        return parquet_table(path)
    if ending == ".npy" or begins(path, MAGIC):
        return npy_table(path)
    if ending == ".arff":
        return arff_table(path)
    return TextTable(path, separator, header)


def folder_tables(folder: Path) -> tuple[list[Table], list[Table]]:
    """Return the tables of a folder and those of its test part: Parquet files, or images, by class or without one.

    Raises:
        DataError: it holds neither.
    """
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in (".parquet", ".pq") and not path.name.startswith(".")
    )
    if files:
        return [parquet_table(path) for path in files], []
    train, test = folder / "train", folder / "test"
    if train.is_dir() and test.is_dir() and (found := image_files(train)):
        in_test = image_files(test)
        if not in_test:
            raise DataError(f"{test} holds no images: expected one subfolder per class, as in {train}")
        return [image_table(train, found)], [image_table(test, in_test)]
    if found := image_files(folder) or image_files(folder, "*"):
        return [image_table(folder, found)], []
    raise DataError(
        f"{folder} holds nothing that is read here: expected Parquet files, images in one subfolder per class, or the "
        "four MNIST IDX files"
    )
