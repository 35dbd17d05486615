"""Compares two runs: finds the first step with another result, and its likely causes."""

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
class Difference:
    """The first step in which two step logs differ."""

    step: int
    """Step, counted from 0; -1 if the initial parameters differ."""
    layer: int | None
    """First layer l = 1..L whose parameters differ after the step; None if only the cost differs."""

    def __str__(self) -> str:
        where = f"layer {self.layer}" if self.layer else "the cost alone"
        return f"in the initial weights, {where}" if self.step < 0 else f"in step {self.step}, {where}"


@dataclass(frozen=True)
class Comparison:
    """The result of comparing two runs."""

    difference: Difference | None
    steps: tuple[int, int]
    """Number of logged steps of each run."""
    causes: tuple[str, ...]
    """Likely causes of the difference, the likeliest first."""


def compare(one: Path, other: Path) -> Comparison:
    """Compare the runs in two directories.

    Raises:
        RunError: one of the runs cannot be read.
    """
    settings, logs = (
        [read_json(path / CONFIG, CONFIG_JSON) for path in (one, other)],
        [read_steps(path) for path in (one, other)],
    )
    difference = first_difference(*logs)
    causes = tuple(_causes(settings[0], settings[1], difference)) if difference is not None else ()
    return Comparison(difference, (len(logs[0].records), len(logs[1].records)), causes)


def different_settings(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the settings that differ between runs; None equals a missing setting.

    >>> different_settings([{"lr": 0.1, "seed": 0, "drop": None}, {"lr": 0.2, "seed": 0}])
    ['lr']
    """
    names = dict.fromkeys(name for each in settings for name in each)
    return [name for name in names if any(each.get(name) != settings[0].get(name) for each in settings)]


def first_difference(one: Steps, other: Steps) -> Difference | None:
    """Return the first difference of two step logs; None if the shorter one equals the start of the other."""
    if len(one.initial) != len(other.initial):
        return Difference(-1, 1)
    if one.initial != other.initial:
        return Difference(-1, _first(np.array(one.initial, "u8") != np.array(other.initial, "u8")))
    common = min(len(one.records), len(other.records))
    records, others = one.records[:common], other.records[:common]
    layers = records["layers"] != others["layers"]
    differs = layers.any(axis=1)
    for name in ("rows", "right", "cost"):
        differs |= records[name] != others[name]
    if not differs.any():
        return None
    step = int(differs.argmax())
    return Difference(step, _first(layers[step]))


def _first(differs: NDArray[Any]) -> int | None:
    return int(differs.argmax()) + 1 if differs.any() else None


def _causes(one: Mapping[str, Any], other: Mapping[str, Any], difference: Difference) -> list[str]:
    """Return the likely causes, the likeliest first."""
    names = set(different_settings((one, other))) - NEVER_CHANGES_THE_RESULT - set(BESIDE_THE_SETTINGS)
    changed = {name: f"{name} {one.get(name)} and {other.get(name)}" for name in sorted(names)}
    causes = []
    if one.get("data_sha256") != other.get("data_sha256"):
        causes.append("data: the training rows differ")
    if difference.step < 0:
        causes.append(
            f"initial weights: {'; '.join(changed.values()) or 'one of the runs started from a given network'}"
        )
        changed.clear()
    elif difference.step == 0 and _ORDER & changed.keys():
        settings = [changed.pop(name) for name in sorted(_ORDER & changed.keys())]
        causes.append(f"order: the same initial weights, but {'; '.join(settings)}")
    if changed:
        causes.append(f"setting: {'; '.join(changed.values())}")
    if "float16" in (one.get("wire"), other.get("wire")):
        causes.append(
            "wire float16: with it, --servers and the number of hosts, also lost and joined ones, change the bits"
        )
    arithmetic, others = one.get("arithmetic", {}), other.get("arithmetic", {})
    if arithmetic != others:
        what = [
            f"{name} {each} and {others.get(name)}" for name, each in arithmetic.items() if each != others.get(name)
        ]
        causes.append(f"arithmetic: {'; '.join(what)}")
    if not causes:
        causes.append(
            "no recorded setting differs: the memory or the CPU of a machine may have failed; distbp verify does the "
            "steps of a run again"
        )
    return causes
