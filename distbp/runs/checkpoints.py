"""Checkpoints: files with the state after a step, from which a run can be resumed. Each file has a checksum."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distbp.errors import RunError
from distbp.files.json_checks import Check, anything, flag, list_of, number, or_null, record, text, whole
from distbp.files.json_text import Unexpected, parse
from distbp.files.tensors import read_sealed_tensors, write_tensors

KEPT = 3
"""Number of checkpoints kept, the newest ones."""

_NUMBERS = list_of(number())
_FIELDS = record(
    {
        "slots": list_of(text()),
        "structure": record({"sizes": list_of(whole(1), 2), "activations": list_of(text(), 1), "cost": text()}),
        "epoch": record(
            {"rows": whole(), "right": whole(), "cost": number(), "seconds": number(0)},
            {
                "weight": number(0),
                "means": record(
                    {"steps": whole(), "gradient": _NUMBERS, "update": _NUMBERS, "spread": number(), "signal": number()}
                ),
            },
        ),
        "recoveries": whole(),
    },
    {
        "health": or_null(record({"cost": or_null(number()), "norms": _NUMBERS})),
        "settings_sha256": text(),
        "has_connections": flag,
    },
)


def check_described(value: Any, place: str) -> None:
    """Check the description in a run's checkpoint, and that it has a norm for each layer of the network."""
    _FIELDS(value, place)
    depth = len(value["structure"]["activations"])
    means, norms = value["epoch"].get("means") or {"steps": 0}, (value.get("health") or {}).get("norms", ())
    lengths = [len(means.get(name, ())) for name in ("gradient", "update")]
    if lengths != [depth if means["steps"] else 0] * 2 or len(norms) not in (0, depth):
        raise Unexpected(f"found norms of {lengths[0]}, {lengths[1]} and {len(norms)} layers, expected {depth}")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after a step, and its description."""

    step: int
    """Number of steps done."""
    state: NDArray[Any]
    """Weights and optimizer state, shape (1 + slots, parameters)."""
    slots: tuple[str, ...]
    """Names of the optimizer's vectors, in their order in the state."""
    described: Mapping[str, Any]
    """Structure, progress and health of the run, in JSON types."""


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = KEPT) -> Path:
    """Write a checkpoint, then remove later ones and all but the newest ``keep``; return its path.

    Raises:
        RunError: it cannot be written; nothing is removed then.
    """
    names = ("weights", *checkpoint.slots)
    tensors = {name: np.ascontiguousarray(row) for name, row in zip(names, checkpoint.state, strict=True)}
    described = {"slots": checkpoint.slots, **checkpoint.described}
    path = folder / f"step-{checkpoint.step:010d}.safetensors"
    write_tensors(path, tensors, {"step": str(checkpoint.step), "described": json.dumps(described)})
    remove_partial_checkpoints(folder)
    # Later checkpoints are obsolete: the run was resumed before them.
    known = sorted(folder.glob("step-*.safetensors"))
    later = [other for other in known if other.name > path.name]
    for old in [*later, *[other for other in known if other.name <= path.name][:-keep]]:
        with suppress(OSError):
            old.unlink()
    return path


def remove_partial_checkpoints(folder: Path) -> None:
    """Remove the incomplete files of killed writers."""
    for pattern in (".step-*", ".tmp*"):  # temporary files of distbp and of safetensors
        for partial in folder.glob(pattern):
            with suppress(OSError):
                partial.unlink()


def read_checkpoint(path: Path, expected: Check = anything) -> Checkpoint:
    """Read a checkpoint and check its description with ``expected``.

    Raises:
        RunError: it is missing, cut short, or differs in any byte from what was written.
    """
    tensors, metadata, has_sum = read_sealed_tensors(path)
    try:
        if not has_sum:
            raise Unexpected("it has no checksum")
        step, described = int(metadata["step"]), parse(metadata["described"], only_finite=False)
        whole()(step, "step")
        expected(described, "")
        slots = tuple(described["slots"])
        state = np.stack([tensors[name] for name in ("weights", *slots)])
        if state.ndim != 2 or state.dtype not in (np.float32, np.float64):
            raise Unexpected(f"its state is {state.dtype} of shape {state.shape}")
    except (KeyError, ValueError, TypeError) as error:
        raise RunError(f"{path} is damaged: {type(error).__name__} {error}") from error
    return Checkpoint(step, state, slots, described)


def newest_checkpoint(folder: Path, note: Callable[[str], None], expected: Check = anything) -> Checkpoint | None:
    """Return the newest good checkpoint, None if there is none; note the damaged ones."""
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            return read_checkpoint(path, expected)
        except RunError as error:
            note(f"{error}; the checkpoint before it is used")
    return None
