"""Where two runs part, and why: their settings, data and arithmetic, and what came out of each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distbp.config import BESIDE_THE_SETTINGS, CONFIG_JSON, NEVER_CHANGES_THE_RESULT
from distbp.files.json_files import read_json
from distbp.runs.directory import CONFIG
from distbp.runs.steplog import Steps, read_steps

_ORDER = {"seed", "batch_size"}


@dataclass(frozen=True)
class Parting:
    """The first step in which two logs differ."""

    step: int
    """Counted from 0; -1 where the initial parameters differ already."""
    layer: int | None
    """The first layer l = 1..L whose parameters differ after the step; None if none does."""

    def __str__(self) -> str:
        where = f"layer {self.layer}" if self.layer else "the cost alone"
        return f"in the initial weights, {where}" if self.step < 0 else f"in step {self.step}, {where}"


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common."""

    parting: Parting | None
    steps: tuple[int, int]
    """The steps that each has logged."""
    causes: tuple[str, ...]
    """What may have led to it, the likeliest first."""


def compare(one: Path, other: Path) -> Comparison:
    """Compare the runs in two directories.

    Raises:
        RunError: one of them cannot be read.
    """
    settings, logs = (
        [read_json(path / CONFIG, CONFIG_JSON) for path in (one, other)],
        [read_steps(path) for path in (one, other)],
    )
    parting = first_difference(*logs)
    causes = tuple(_causes(settings[0], settings[1], parting)) if parting is not None else ()
    return Comparison(parting, (len(logs[0].records), len(logs[1].records)), causes)


def different_settings(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names in config.json of what is not the same in all runs; None counts as missing.

    >>> different_settings([{"lr": 0.1, "seed": 0, "drop": None}, {"lr": 0.2, "seed": 0}])
    ['lr']
    """
    names = dict.fromkeys(name for each in settings for name in each)
    return [name for name in names if any(each.get(name) != settings[0].get(name) for each in settings)]


def first_difference(one: Steps, other: Steps) -> Parting | None:
    """Return where two logs part; None if they are equal as far as both go."""
    if len(one.initial) != len(other.initial):
        return Parting(-1, 1)
    if one.initial != other.initial:
        return Parting(-1, _first(np.array(one.initial, "u8") != np.array(other.initial, "u8")))
    common = min(len(one.records), len(other.records))
    mine, theirs = one.records[:common], other.records[:common]
    layers = mine["layers"] != theirs["layers"]
    differs = layers.any(axis=1)
    for name in ("rows", "right", "cost"):
        differs |= mine[name] != theirs[name]
    if not differs.any():
        return None
    step = int(differs.argmax())
    return Parting(step, _first(layers[step]))


def _first(differs: NDArray[Any]) -> int | None:
    return int(differs.argmax()) + 1 if differs.any() else None


def _causes(one: Mapping[str, Any], other: Mapping[str, Any], parting: Parting) -> list[str]:
    """Return the likely causes, the likeliest first."""
    names = set(different_settings((one, other))) - NEVER_CHANGES_THE_RESULT - set(BESIDE_THE_SETTINGS)
    changed = {name: f"{name} {one.get(name)} and {other.get(name)}" for name in sorted(names)}
    causes = []
    if one.get("data_sha256") != other.get("data_sha256"):
        causes.append("data: they trained on other rows")
    if parting.step < 0:
        causes.append(f"initial weights: {'; '.join(changed.values()) or 'a network was given to one of them'}")
        changed.clear()
    elif parting.step == 0 and _ORDER & changed.keys():
        told = [changed.pop(name) for name in sorted(_ORDER & changed.keys())]
        causes.append(f"order: the same initial weights, but {'; '.join(told)}")
    if changed:
        causes.append(f"setting: {'; '.join(changed.values())}")
    if "float16" in (one.get("wire"), other.get("wire")):
        causes.append("wire float16: with it the hosts, --servers, and whoever was lost or joined change the bits")
    mine, theirs = one.get("arithmetic", {}), other.get("arithmetic", {})
    if mine != theirs:
        what = [f"{name} {mine.get(name)} and {theirs.get(name)}" for name in mine if mine[name] != theirs.get(name)]
        causes.append(f"arithmetic: {'; '.join(what)}")
    return causes or ["nothing that is recorded differs: the memory or the CPU of a machine may have failed; "
                      "distbp verify computes a run again"]  # fmt: skip
