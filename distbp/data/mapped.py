"""Arrays that lie in files: passed on by name, so that every process of a host maps the same pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distbp.data.dataset import Array


class Mapped(NamedTuple):
    """An array in a file of NumPy's format."""

    path: Path


def mapped(array: Array) -> Mapped | None:
    """Return where an array lies, None if it is in memory."""
    if isinstance(array, np.memmap) and array.filename is not None:
        return Mapped(Path(str(array.filename)).absolute())
    return None


def opened(array: Any) -> Any:
    """Map an array that was passed on by name; anything else is returned as it is."""
    return np.load(array.path, mmap_mode="r", allow_pickle=False) if isinstance(array, Mapped) else array
