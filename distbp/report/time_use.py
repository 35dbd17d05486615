"""Time use of a run: what each worker and the server spent per epoch, and when recoveries and breaks happened."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from distbp.report.json_values import mapping, moment, number, seconds_as_text, text
from distbp.report.run_files import Run

_MOST_PARTS = 200
"""Most parts of the timeline; if there are more epochs, neighbours are merged."""
_MOST_WORKERS = 24
_MOST_MARKS = 200


def time_use_of(run: Run) -> dict[str, Any] | None:
    """Return the time use of a run in parts of one or more epochs; None if the run recorded no times.

    Times are seconds since the start of the run, without the breaks between its processes. Each part has its ``from``
    and ``to``, the ``seconds`` of its steps, and how much of them the server was ``serving`` and each worker
    ``computing``.
    """
    epochs, marks, end = _timeline(run)
    if not epochs and not marks:
        return None
    names = sorted({name for epoch in epochs for name in epoch["computing"]}, key=_natural_key)
    size = max(1, -(-len(epochs) // _MOST_PARTS))
    groups = [epochs[first : first + size] for first in range(0, len(epochs), size)]
    parts = [_part(group, names) for group in groups]
    steps = sum(part["seconds"] for part in parts)
    return {
        "end": number(max([end, *(part["to"] for part in parts)])),
        "workers": names[:_MOST_WORKERS],
        "not_shown": max(0, len(names) - _MOST_WORKERS),
        "parts": [{name: _rounded(value) for name, value in part.items()} for part in parts],
        "totals": {
            "steps": steps,
            "serving": sum(part["serving"] for part in parts),
            "computing": [sum(part["computing"][k] for part in parts) for k in range(min(len(names), _MOST_WORKERS))],
            "other": max(0.0, end - steps),
        },
        "marks": marks[:_MOST_MARKS],
        "marks_not_shown": max(0, len(marks) - _MOST_MARKS),
    }


def _rounded(value: Any) -> Any:
    return [number(each) for each in value] if isinstance(value, list) else number(value)


def _natural_key(name: str) -> list[Any]:
    """Return a sort key that puts worker 10 after worker 9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _timeline(run: Run) -> tuple[list[dict[str, Any]], list[dict[str, Any]], float]:
    """Return the run's epochs, its marks (recoveries, breaks, its end) and its length, in time without breaks."""
    epochs: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    before, ended_at = 0.0, None
    for process in _processes(run.timeline):
        records = [record for record in process if moment(record.get("time")) is not None]
        if not records:
            continue
        start = float(records[0]["time"])
        if ended_at is not None:
            pause = max(0.0, start - ended_at)
            marks.append({"kind": "break", "at": before, "text": f"the run resumed after {seconds_as_text(pause)}"})
        for record in records:
            _add_record(record, before, start, epochs, marks)
        ended_at = max(float(record["time"]) for record in records)
        before += max(0.0, ended_at - start)
    return epochs, marks, before


def _processes(timeline: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Return the timeline's records, divided by the processes that wrote them."""
    processes: list[list[Mapping[str, Any]]] = []
    for record in timeline:
        if record["kind"] == "began" or not processes:
            processes.append([])
        processes[-1].append(record)
    return processes


def _add_record(
    record: Mapping[str, Any],
    before: float,
    start: float,
    epochs: list[dict[str, Any]],
    marks: list[dict[str, Any]],
) -> None:
    """Add an epoch or a mark; the record's process started at ``start``, after ``before`` seconds of the run."""
    at = before + max(0.0, float(record["time"]) - start)
    step = number(record.get("step"))
    if record["kind"] == "epoch":
        began = moment(record.get("began"))
        first = at if began is None else min(at, before + max(0.0, began - start))
        seconds = min(max(number(record.get("seconds")) or 0.0, 0.0), at - first)
        computing = {text(name): number(each) or 0.0 for name, each in mapping(record.get("computing")).items()}
        serving = min(max(number(record.get("serving")) or 0.0, 0.0), seconds)
        epoch = {
            "epoch": number(record.get("epoch")) or 0,
            "from": first,
            "to": at,
            "seconds": seconds,
            "serving": serving,
            "computing": {name: min(max(each, 0.0), seconds - serving) for name, each in computing.items()},
        }
        epochs.append(epoch)
    elif record["kind"] == "recovery":
        marks.append({"kind": "recovery", "at": at, "step": step, "text": text(record.get("text", ""))})
    elif record["kind"] == "ended" and record.get("how") != "finished":
        how = text(record.get("how", ""))
        marks.append({"kind": "end", "at": at, "step": step, "text": f"{how}: {text(record.get('text', ''))}"})


def _part(group: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    return {
        "first": group[0]["epoch"],
        "last": group[-1]["epoch"],
        "from": group[0]["from"],
        "to": group[-1]["to"],
        "seconds": sum(epoch["seconds"] for epoch in group),
        "serving": sum(epoch["serving"] for epoch in group),
        "computing": [sum(epoch["computing"].get(name, 0.0) for epoch in group) for name in names[:_MOST_WORKERS]],
    }
