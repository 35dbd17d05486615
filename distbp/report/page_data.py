"""Data of a report page as JSON types, collected from the run directories."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distbp.config import BESIDE_THE_SETTINGS
from distbp.errors import UsageError
from distbp.report.curves import best_of, curves_of, findings_of, layers_of
from distbp.report.evaluation import Evaluator
from distbp.report.json_values import mapping, number, seconds_as_text, text
from distbp.report.repeat_command import repeat_command
from distbp.report.run_files import Run, names_of, read_run
from distbp.report.time_use import time_use_of
from distbp.runs.comparison import different_settings
from distbp.training.health import LARGE_UPDATE, VANISHING
from distbp.version import __version__

_MOST_RUNS = 12
_SCORES = (
    ("test_accuracy", "test accuracy", max),
    ("test_rmse", "test RMSE", min),
    ("test_r2", "test R²", max),
    ("test_cost", "test cost", min),
)
"""Name in the records, label, and function that picks the best value."""
_POINTS, _LAYER_POINTS, _MISTAKES = 1200, 300, 24
"""Limits for all runs of a page together, which keep the page small."""


def page_data(paths: Sequence[Path], evaluator: Evaluator | None = None, is_live: bool = False) -> dict[str, Any]:
    """Return the data of a page about these runs.

    Raises:
        UsageError: a directory contains no run, or there are too many runs.
        RunError: a run's settings cannot be read.
    """
    if len(paths) > _MOST_RUNS:
        raise UsageError(f"found {len(paths)} runs: a page compares at most {_MOST_RUNS}")
    evaluator = evaluator or new_evaluator(paths)
    runs = [read_run(path, name) for path, name in zip(paths, names_of(list(paths)), strict=True)]
    return {
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "version": __version__,
        "live": is_live,
        "bands": {"vanishing": VANISHING, "exploding": LARGE_UPDATE},
        "runs": [_run_data(run, len(runs), evaluator) for run in runs],
        "differences": _differences(runs),
    }


def new_evaluator(paths: Sequence[Path]) -> Evaluator:
    """Return an evaluator that collects as many mistakes per run as fit on a page with this many runs."""
    return Evaluator(max(6, _MISTAKES // len(paths)))


def _run_data(run: Run, runs: int, evaluator: Evaluator) -> dict[str, Any]:
    command, note = repeat_command(run.settings)
    return {
        "name": text(run.name),
        "path": text(run.path),
        "state": run.state,
        "state_text": text(run.state_text),
        "notes": [text(each) for each in run.notes],
        "task": run.task,
        "results": _results(run),
        "epochs": [len(run.epochs), number(run.settings.get("epochs"))],
        "curves": curves_of(run, max(100, _POINTS // runs)),
        "layers": layers_of(run, max(40, _LAYER_POINTS // runs)),
        "findings": findings_of(run),
        "time_use": time_use_of(run),
        "evaluation": evaluator.evaluate(run.path, run.settings),
        "settings": {name: text(value) for name, value in run.settings.items() if name not in BESIDE_THE_SETTINGS},
        "environment": _environment(run),
        "command": command,
        "command_note": text(note),
    }


def _results(run: Run) -> list[list[str]]:
    """Return the run's results, each as label, value and remark."""
    last: Mapping[str, Any] = run.summary or (run.epochs[-1] if run.epochs else {})
    results: list[list[str]] = []
    for name, label, pick in _SCORES:
        value = number(last.get(name))
        if value is not None:
            results.append([label, f"{value:.4g}", _remark(run, name, pick)])
    seconds = number(run.summary.get("wall_seconds"))
    if seconds is not None:
        results.append(["total time", seconds_as_text(seconds), "whole command"])
    speed = number(last.get("samples_per_second"))
    if speed is not None:
        results.append(["samples per second", f"{speed:,.0f}", "training loop only"])
    recoveries = number(run.summary.get("recoveries"))
    if recoveries is None:
        recoveries = float(sum(record.get("kind") == "recovery" for record in run.timeline))
    results.append(["recoveries", f"{recoveries:,.0f}", "they do not change the result" if recoveries else ""])
    return results


def _remark(run: Run, name: str, pick: Any) -> str:
    remarks = [
        f"{label} {value:.4g}"
        for label, value in (
            ("linear model", number(run.summary.get(f"linear_{name}"))),
            ("constant prediction", number(run.summary.get(f"constant_{name}"))),
        )
        if value is not None
    ]
    best = best_of(run, name, pick)
    if not remarks and best is not None:
        remarks.append(f"best {best[0]:.4g} in epoch {best[1]:.0f}")
    return ", ".join(remarks)


def _environment(run: Run) -> list[list[str]]:
    arithmetic = mapping(run.settings.get("arithmetic"))
    began = next((record for record in run.timeline if record.get("kind") == "began"), {})
    environment = {**mapping(began.get("environment")), **arithmetic}
    when = number(began.get("time"))
    rows = [["began", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(began["time"]))]] if when else []
    rows += [[text(name), text(value)] for name, value in environment.items()]
    rows.append(["data", text(run.settings.get("data"))])
    rows.append(["data SHA-256", text(run.settings.get("data_sha256"))])
    if "weights_sha256" in run.summary:
        rows.append(["weights SHA-256", text(run.summary["weights_sha256"])])
    return rows


def _differences(runs: Sequence[Run]) -> list[list[Any]]:
    """Return the settings that differ between the runs, each with its value in every run."""
    names = different_settings([run.settings for run in runs])
    return [[text(name), [text(run.settings.get(name)) for run in runs]] for name in names]
