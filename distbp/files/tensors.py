"""Safetensors files: arrays and texts by name, with a checksum over all of them."""

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
"""Name of the text that is the checksum over the tensors and the other texts."""


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays and texts by name in the safetensors format, with a checksum."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    texts = dict(metadata or {})
    with atomic_write(path) as temporary:
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        try:
            save_file(contiguous, temporary, {**texts, _TENSOR_SUM: _sum_of_tensors(contiguous, texts)})
            if temporary != path:
                temporary.chmod(mode)  # restored: safetensors replaces the file by one that only its owner may read
        except SafetensorError as error:
            raise RunError(f"{path} cannot be written: {error}") from error


def tensors_as_bytes(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return the content of the file that :func:`write_tensors` would write."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    content: bytes = save(contiguous, {**metadata, _TENSOR_SUM: _sum_of_tensors(contiguous, metadata)})
    return content


class Tensors(NamedTuple):
    """The content of a safetensors file."""

    arrays: dict[str, NDArray[Any]]
    texts: dict[str, str]
    has_sum: bool
    """Whether it had a checksum, which was verified."""


def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read arrays and texts by name from a safetensors file; its checksum, if there is one, is verified.

    Raises:
        RunError: the file is missing, not a regular file, larger than the memory, or damaged.
    """
    return read_sealed_tensors(path)[:2]


def read_sealed_tensors(path: Path, most: int | None = None) -> Tensors:
    """Read a safetensors file of at most ``most`` bytes (default: the machine's memory).

    Raises:
        RunError: as :func:`read_tensors`.
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
    # types that NumPy does not have raise a TypeError or an AttributeError
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise cannot_be_read(path, error) from error
    expected = texts.pop(_TENSOR_SUM, None)
    if expected is not None and _sum_of_tensors(arrays, texts) != expected:
        raise RunError(f"{path} is damaged, or was changed by hand: its sum does not match what it holds")
    return Tensors(arrays, texts, expected is not None)


def _memory() -> int:
    """Return the size of this machine's memory in bytes."""
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return 1 << 40
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _sum_of_tensors(tensors: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> str:
    """Return the checksum over names, types, shapes and bytes of the tensors, and over the texts."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.data)
    digest.update(json.dumps(sorted(texts.items())).encode())
    return digest.hexdigest()
