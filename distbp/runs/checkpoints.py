"""Checkpoints: the state after a step, from which a run can go on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from distbp.runs.files import write_tensors

_KEPT = 2


def write_checkpoint(
    folder: Path, step: int, state: NDArray[Any], slots: Sequence[str], settings: Mapping[str, Any]
) -> Path:
    """Write the state after ``step`` steps, shape (1 + slots, parameters); keep the newest two, return the path."""
    names = ["weights", *slots]
    metadata = {"step": str(step), "settings": json.dumps(settings)}
    path = folder / f"step-{step:010d}.safetensors"
    write_tensors(path, dict(zip(names, state, strict=True)), metadata)
    for old in sorted(folder.glob("step-*.safetensors"))[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path
