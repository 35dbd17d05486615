"""Checkpoints: the state after a step, from which a run can go on. One file each, with a sum over all it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distbp.errors import RunError
from distbp.files import read_tensors, write_tensors

KEPT = 3
"""How many of the newest checkpoints stay."""


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on."""

    step: int
    """Steps done; the state is the one after them."""
    state: NDArray[Any]
    """Weights and the optimizer's vectors, shape (1 + slots, parameters)."""
    slots: tuple[str, ...]
    """The names of the rows after the weights."""
    described: Mapping[str, Any]
    """What else belongs to it, as JSON's types."""


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = KEPT) -> Path:
    """Write a checkpoint and then remove all but the newest ``keep``, and later ones; return its path.

    Raises:
        RunError: it cannot be written; nothing was removed.
    """
    names = ("weights", *checkpoint.slots)
    tensors = {name: np.ascontiguousarray(row) for name, row in zip(names, checkpoint.state, strict=True)}
    described = {"slots": checkpoint.slots, **checkpoint.described}
    told = {"step": str(checkpoint.step), "described": json.dumps(described)}
    path = folder / f"step-{checkpoint.step:010d}.safetensors"
    write_tensors(path, tensors, {**told, "sha256": _sha256(tensors, told)})
    remove_partial(folder)
    # What comes after this step is of a run that was left there, and no longer true.
    known = sorted(folder.glob("step-*.safetensors"))
    later = [other for other in known if other.name > path.name]
    for old in [*later, *[other for other in known if other.name <= path.name][:-keep]]:
        with suppress(OSError):
            old.unlink()
    return path


def remove_partial(folder: Path) -> None:
    """Remove what writers that were killed have left beside the checkpoints."""
    for pattern in (".step-*", ".tmp*"):  # ours, and what safetensors writes to before it renames
        for partial in folder.glob(pattern):
            with suppress(OSError):
                partial.unlink()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        RunError: it is missing, cut short, or differs in any byte from what was written.
    """
    tensors, told = read_tensors(path)
    try:
        expected = told.pop("sha256")
        if _sha256(tensors, told) != expected:
            raise RunError(f"{path} is damaged: its sum does not match what it holds")
        step, described = int(told["step"]), json.loads(told["described"])
        slots = tuple(described["slots"])
        state = np.stack([tensors[name] for name in ("weights", *slots)])
    except (KeyError, ValueError, TypeError) as error:
        raise RunError(f"{path} is damaged: {type(error).__name__} {error}") from error
    return Checkpoint(step, state, slots, described)


def newest_checkpoint(folder: Path, note: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest good checkpoint, None if there is none; damaged ones are named through ``note``."""
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            return read_checkpoint(path)
        except RunError as error:
            note(f"{error}; the checkpoint before it is used")
    return None


def _sha256(tensors: Mapping[str, NDArray[Any]], told: Mapping[str, str]) -> str:
    """Return the sum over names, types, shapes and bytes of the tensors and over the texts."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.data)
    digest.update(json.dumps(sorted(told.items())).encode())
    return digest.hexdigest()
