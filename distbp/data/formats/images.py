"""Folders of PNG and JPEG images, one subfolder per class, as tables of pixels. Pillow decodes them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distbp.data.dataset import Array
from distbp.data.formats.regular_files import check_file
from distbp.data.formats.table import arrow
from distbp.data.formats.typed import TypedTable
from distbp.errors import DataError

_ENDINGS = (".png", ".jpg", ".jpeg")
_AT_ONCE, _BYTES_AT_ONCE = 1024, 64 << 20
"""Most images per block, and most bytes of pixels."""


def image_files(folder: Path, pattern: str = "*/*") -> list[Path]:
    """Return the images in the folder's subfolders, ordered by file name over all classes, without hidden ones."""
    images = [
        path
        for path in folder.glob(pattern)
        if path.suffix.lower() in _ENDINGS and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(images, key=lambda path: (path.name, path.parent.name))


def image_shape(path: Path) -> tuple[int, ...]:
    """Return the shape of an image's pixels: (height, width) if it is gray, (height, width, 3) if it has colours."""
    return _shape_and_mode(path)[0]


def image_table(folder: Path, files: Sequence[Path]) -> TypedTable:
    """Return the table of a folder's images: ``pixels``, row by row from the upper left, and ``class``, the subfolder.

    All images must have the size of the first. If the first is gray all are read as gray, otherwise as RGB.
    """
    pa = arrow(f"reading the images in {folder}")
    shape, mode = _shape_and_mode(files[0])
    width = int(np.prod(shape))
    types = {"pixels": pa.list_(pa.uint8(), width)}
    if files[0].parent != folder:
        types["class"] = pa.string()

    def batches(start: int, names: Sequence[str]) -> Iterator[tuple[int, Any]]:
        count = max(1, min(_AT_ONCE, _BYTES_AT_ONCE // width))
        for first in range(start, len(files), count):
            some = files[first : first + count]
            columns = {}
            if "pixels" in names:
                pixels = np.stack([_read(path, shape, mode) for path in some]).reshape(-1)
                columns["pixels"] = pa.FixedSizeListArray.from_arrays(pa.array(pixels), width)
            if "class" in names:
                columns["class"] = pa.array([path.parent.name for path in some])
            yield first, pa.table(columns)

    return TypedTable(str(folder), types, batches, len(files), len(files))


def _shape_and_mode(path: Path) -> tuple[tuple[int, ...], str]:
    image = _open(path)
    mode = "L" if image.mode in ("1", "L") else "RGB"
    size = (image.height, image.width)
    image.close()
    return (size if mode == "L" else (*size, 3)), mode


def _open(path: Path) -> Any:
    image = arrow(f"reading {path}", "PIL.Image")
    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", image.DecompressionBombWarning)
            opened = image.open(path)
    except (image.DecompressionBombWarning, image.DecompressionBombError) as error:
        raise DataError(f"{path} is refused: it would take up more memory than an image should ({error})") from error
    except Exception as error:  # each of the many decoders raises errors of its own at damaged bytes
        raise DataError(f"{path} cannot be read as an image: {_reason(error)}") from error
    if opened.mode.startswith(("I", "F")):
        opened.close()
        raise DataError(f"{path} has more than 8 bits per pixel: save it with 8, since pixels are 0..255 here")
    return opened


def _read(path: Path, shape: tuple[int, ...], mode: str) -> Array:
    with _open(path) as image:
        if (image.height, image.width) != shape[:2]:
            size = f"{image.width}x{image.height}"
            raise DataError(f"{path} is {size} pixels large, the first image {shape[1]}x{shape[0]}: expected one size")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return np.asarray(image if image.mode == mode else image.convert(mode))
        except Exception as error:
            raise DataError(f"{path} cannot be read as an image: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
