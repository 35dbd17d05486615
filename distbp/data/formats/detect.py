"""Detection of formats: the tables of a file, of a folder, or of an object in memory."""

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
    """Return whether an object in memory is a table: Arrow, pandas, polars, Ray Data or a NumPy array."""
    return hasattr(source, "__arrow_c_stream__") or _is_ray_data(source) or isinstance(source, np.ndarray)


def table_of(source: Any) -> Table:
    """Return an object of :func:`is_table` as a table."""
    if isinstance(source, np.ndarray):
        return array_table(source, "the array")
    return ray_table(source) if _is_ray_data(source) else arrow_table(source)


def _is_ray_data(source: Any) -> bool:
    return hasattr(source, "iter_batches") and hasattr(source, "schema")


def file_table(path: Path, separator: str | None = None, header: bool | None = None) -> Table:
    """Return the table of a file.

    Raises:
        DataError: its format is unknown, or it is damaged.
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
    """Return the tables of a folder, and those of its test part: Parquet files or images.

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
    if train.is_dir() and test.is_dir() and (images := image_files(train)):
        test_images = image_files(test)
        if not test_images:
            raise DataError(f"{test} holds no images: expected one subfolder per class, as in {train}")
        return [image_table(train, images)], [image_table(test, test_images)]
    if images := image_files(folder) or image_files(folder, "*"):
        return [image_table(folder, images)], []
    raise DataError(
        f"{folder} holds nothing that distbp reads: expected Parquet files, images in one subfolder per class, or the "
        "four MNIST IDX files"
    )
