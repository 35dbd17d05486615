"""NumPy archives of ``x_train, y_train, x_test, y_test``, or of ``X, y``, from which a test part is held out.

They are read without pickle. Weights of the training rows may be added as ``weights_train`` or ``weights``.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from distbp.data.dataset import Array
from distbp.data.formats.npy import MAGIC, read_array
from distbp.data.formats.regular_files import open_file
from distbp.data.memory import check_memory, refuse_zip_bomb
from distbp.errors import DataError

_PARTS = ("x_train", "y_train", "weights_train", "x_test", "y_test", "x", "y", "weights")


def read_npz(path: Path) -> dict[str, Array]:
    """Return the archive's arrays of known names, in lower case.

    Raises:
        DataError: the file is no archive or is truncated, or an array would need pickle.
    """
    with open_file(path) as file:
        if file.read(len(MAGIC)) == MAGIC:
            raise DataError(f"{path} holds a single array: save it with np.savez(..., X=..., y=...)")
        try:
            with zipfile.ZipFile(file) as archive:
                sizes = {member.filename: member.file_size for member in archive.infolist()}
                refuse_zip_bomb(path, sum(sizes.values()), "save it with np.savez, uncompressed")
                names = {name.removesuffix(".npy").lower(): name for name in sizes}
                # X and y are split in two, and are in memory twice meanwhile
                needed = sum(sizes[names[part]] * (2 if part in ("x", "y") else 1) for part in _PARTS if part in names)
                check_memory(
                    needed, str(path), "save fewer rows, or numbers of fewer bytes; .npy and Parquet are mapped"
                )
                return {part: _member(archive, names[part]) for part in _PARTS if part in names}
        except DataError:
            raise
        except Exception as error:  # zipfile and its decompressors raise errors of many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise DataError(f"{path} cannot be read as a NumPy archive: {reason}") from error


def _member(archive: zipfile.ZipFile, name: str) -> Array:
    try:
        with archive.open(name) as file:
            return read_array(file, archive.getinfo(name).file_size)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
