"""NumPy archives: ``x_train, y_train, x_test, y_test``, or ``X, y`` with a part held out. Read without pickle.

What each training row counts may come with them, as ``weights_train`` or ``weights``.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from distbp.data.dataset import Array
from distbp.errors import DataError

_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 200
_PARTS = ("x_train", "y_train", "weights_train", "x_test", "y_test", "x", "y", "weights")


def read_npz(path: Path) -> dict[str, Array]:
    """Return the archive's arrays of known names, in lower case.

    Raises:
        DataError: the file is no archive, is cut off, or an array would need pickle.
    """
    try:
        with path.open("rb") as file:  # NumPy would leave the file open when it is no archive
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise DataError(f"{path} holds a single array: save it with np.savez(..., X=..., y=...)")
            _refuse_bomb(archive.zip, path)
            names = {name.lower(): name for name in archive.files}
            return {part: archive[names[part]] for part in _PARTS if part in names}
    except DataError:
        raise
    except (
        OSError,
        EOFError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        MemoryError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "Object arrays" in reason:
            reason = "it holds Python objects, which are not loaded because they could run code"
        elif "pickle" in reason:
            reason = "it is none"
        raise DataError(f"{path} cannot be read as a NumPy archive: {reason}") from error


def _refuse_bomb(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse an archive that is small but would fill the memory."""
    size = sum(member.file_size for member in archive.infolist())
    if size > max(_BOMB_BYTES, _BOMB_RATIO * path.stat().st_size):
        raise DataError(
            f"{path} is refused: {path.stat().st_size:,} bytes would become {size:,}; if that is meant, save it with "
            "np.savez, uncompressed"
        )
