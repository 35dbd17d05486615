"""Arrays and texts by name in safetensors files, with a sum over all of them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save, save_file

from distbp.errors import RunError
from distbp.files.atomic import atomic_write
from distbp.files.regular import cannot_be_read, open_regular

_TENSOR_SUM = "sha256"
"""The name of the text in a safetensors file that is the sum over its tensors and its other texts."""


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays by name, and texts by name, in the safetensors format, with a sum over them."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    texts = dict(metadata or {})
    with atomic_write(path) as beside:
        beside.touch()
        mode = stat.S_IMODE(beside.stat().st_mode)
        try:
            save_file(contiguous, beside, {**texts, _TENSOR_SUM: _sum_of_tensors(contiguous, texts)})
            if beside != path:
                beside.chmod(mode)  # the umask's; safetensors renames a file to here that is its owner's alone
        except SafetensorError as error:
            raise RunError(f"{path} cannot be written: {error}") from error


def tensors_as_bytes(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return what :func:`write_tensors` would write."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    content: bytes = save(contiguous, {**metadata, _TENSOR_SUM: _sum_of_tensors(contiguous, metadata)})
    return content


class Tensors(NamedTuple):
    """What a safetensors file holds."""

    arrays: dict[str, NDArray[Any]]
    texts: dict[str, str]
    has_sum: bool
    """Whether it carried a sum, which was right then."""


def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read arrays and texts by name from a safetensors file, whose sum is checked where there is one.

    Raises:
        RunError: the file is missing, no regular one, larger than the memory, or damaged.
    """
    return read_sealed_tensors(path)[:2]


def read_sealed_tensors(path: Path, most: int | None = None) -> Tensors:
    """Read a safetensors file of at most ``most`` bytes (default: the machine's memory), and whether it has a sum.

    Raises:
        RunError: as in :func:`read_tensors`.
    """
    most = _memory() if most is None else most
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
        if size > most:
            raise RunError(f"{path} cannot be read: found {size:,} bytes, expected at most {most:,}")
        with safe_open(path, framework="np") as opened:
            arrays = {name: opened.get_tensor(name) for name in list(opened.keys())}
            texts = dict(opened.metadata() or {})
    except FileNotFoundError as error:
        raise RunError(f"{path} does not exist") from error
    # a type that NumPy does not have is a TypeError or an AttributeError
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise cannot_be_read(path, error) from error
    expected = texts.pop(_TENSOR_SUM, None)
    if expected is not None and _sum_of_tensors(arrays, texts) != expected:
        raise RunError(f"{path} is damaged, or was changed by hand: its sum does not match what it holds")
    return Tensors(arrays, texts, expected is not None)


def _memory() -> int:
    """Return the bytes of this machine's memory."""
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return 1 << 40
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _sum_of_tensors(tensors: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> str:
    """Return the sum over names, types, shapes and bytes of the tensors and over the texts."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.data)
    digest.update(json.dumps(sorted(texts.items())).encode())
    return digest.hexdigest()
