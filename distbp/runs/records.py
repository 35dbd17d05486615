"""Records of a run: a line of metrics.jsonl per epoch, and summary.json at the end. Each has a checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from distbp.errors import RunError
from distbp.files.json_checks import list_of, names_to, number, one_of, or_null, record, text, whole
from distbp.files.json_files import read_json, read_lines
from distbp.files.json_text import Unexpected, parse, sealed, unsealed
from distbp.files.regular import cannot_be_read

METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
_MOST_SUMMARY_BYTES = 1 << 20

_SCORES = {
    f"{part}_{name}": or_null(number())
    for part in ("train", "test", "validation")
    for name in ("cost", "accuracy", "rmse", "r2")
}
_FINDING = record({"kind": one_of("vanishing", "exploding", "saturated", "dead"), "layer": whole(1), "text": text()})
_EPOCH = record(
    {"epoch": whole(1)},
    {
        **_SCORES,
        "steps": whole(),
        "seconds": number(0),
        "samples_per_second": or_null(number(0)),
        "lr": or_null(number(0)),
        "noise_scale": or_null(number()),
        "layers": list_of(names_to(or_null(number()))),
        "findings": list_of(_FINDING),
    },
)
_BASELINES = {f"{model}_{name}": each for model in ("constant", "linear") for name, each in _SCORES.items()}
_COUNTS = ("epochs", "best_epoch", "steps", "workers", "shards", "threads", "recoveries")
_SPEEDS = ("samples_per_second", "step_ms", "wall_seconds")
_SUMMARY = record(
    {},
    {
        **_SCORES,
        **_BASELINES,
        **dict.fromkeys(_COUNTS, whole()),
        **dict.fromkeys(_SPEEDS, or_null(number(0))),
        "seed": whole(0, 2**64 - 1),
        "weights_sha256": text(64),
    },
)


class Metrics(NamedTuple):
    """The undamaged records of a run's epochs."""

    records: list[dict[str, Any]]
    has_sums: bool
    """Whether they have checksums; earlier versions wrote none."""
    damage: RunError | None
    """Why the records after them cannot be read; None if there are none."""


def metrics_line(fields: Mapping[str, Any]) -> str:
    """Return a record as a line of metrics.jsonl."""
    return json.dumps(sealed(fields), allow_nan=False) + "\n"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the epoch records of a run, without an incomplete last one.

    Raises:
        RunError: the file cannot be read, or is damaged; a missing file counts as empty.
    """
    metrics = metrics_so_far(folder)
    if metrics.damage is not None:
        raise metrics.damage
    return metrics.records


def metrics_so_far(folder: Path) -> Metrics:
    """Return the epoch records before the first damaged one."""
    path = folder / METRICS
    records: list[dict[str, Any]] = []
    have_sums = True
    if not path.exists():
        return Metrics([], True, None)
    try:
        for number_, line in enumerate(read_lines(path), start=1):
            try:
                fields, has_sum = unsealed(parse(line))
                _EPOCH(fields, "")
                if records and has_sum != have_sums:
                    raise Unexpected("found a checksum in some records, expected it in all of them")
            except Unexpected as error:
                if not line.endswith(b"\n"):
                    break
                raise cannot_be_read(path, Unexpected(f"line {number_}: {error}")) from error
            have_sums = has_sum
            records.append(fields)
    except RunError as error:
        return Metrics(records, have_sums, error)
    return Metrics(records, have_sums, None)


def read_history(folder: Path, epochs: int, decides: bool, has_validation: bool) -> list[dict[str, Any]]:
    """Return the records of the first ``epochs`` epochs, for a run that is resumed.

    Records at the end may be missing unless the run ``decides`` by them, as early stopping does.

    Raises:
        RunError: the file is damaged, or lacks records that are needed.
    """
    path, records = folder / METRICS, read_metrics(folder)[:epochs]
    needed = {"steps", "seconds", "train_cost", *(("validation_cost",) if has_validation else ())}
    for epoch, fields in enumerate(records, start=1):
        if fields["epoch"] != epoch or not needed <= fields.keys():
            found = f"found epoch {fields['epoch']} with {len(fields)} names"
            expected = f"expected epoch {epoch} with {', '.join(sorted(needed))}"
            raise RunError(f"{path} cannot be read: line {epoch}: {found}, {expected}")
    if decides and len(records) < epochs:
        raise RunError(
            f"{path} holds the records of {len(records)} epochs of {epochs}, which early stopping and the plateau "
            "schedule need: start the run again in another directory"
        )
    return records


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the summary of a finished run.

    Raises:
        RunError: it cannot be read, or is damaged.
    """
    return read_json(folder / SUMMARY, _SUMMARY, _MOST_SUMMARY_BYTES)
