"""The page: what the runs tell as JSON, and the style and the scripts that show it, all in one file.

A browser runs nothing but the scripts whose hashes the page names, and connects to nobody. Names that come from data
are text of the JSON, never HTML.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from distbp.config import BESIDE_THE_SETTINGS
from distbp.errors import UsageError
from distbp.files.atomic import atomic_write
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
_POINTS, _LAYER_POINTS, _MISTAKES = 1200, 300, 24
"""Of all runs of a page together, so that it stays small."""
_STYLES = ("uplot.min.css", "page.css")
_SCRIPTS = ("uplot.min.js", "charts.js", "sections.js", "page.js")


def check_runs(paths: Sequence[Path]) -> None:
    """Refuse more runs than a page can show.

    Raises:
        UsageError: there are.
    """
    if len(paths) > _MOST_RUNS:
        raise UsageError(f"{len(paths)} runs are given: a page compares at most {_MOST_RUNS}")


def page_data(paths: Sequence[Path], evaluator: Evaluator | None = None, is_live: bool = False) -> dict[str, Any]:
    """Return what a page tells of runs, as JSON's types.

    Raises:
        UsageError: a directory holds no run, or there are too many.
        RunError: a run's settings cannot be read.
    """
    check_runs(paths)
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
    """Return what asks the runs' networks for as many mistakes as a page of so many runs shows."""
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
        "numbers": _numbers(run),
        "epochs": [len(run.epochs), number(run.settings.get("epochs"))],
        "curves": curves_of(run, max(100, _POINTS // runs)),
        "layers": layers_of(run, max(40, _LAYER_POINTS // runs)),
        "findings": findings_of(run),
        "time": time_use_of(run),
        "answers": evaluator.evaluate(run.path, run.settings),
        "settings": {name: text(value) for name, value in run.settings.items() if name not in BESIDE_THE_SETTINGS},
        "environment": _environment(run),
        "command": command,
        "command_note": text(note),
    }


def _numbers(run: Run) -> list[list[str]]:
    """Return what came out, each with its name and a remark."""
    last: Mapping[str, Any] = run.summary or (run.epochs[-1] if run.epochs else {})
    told: list[list[str]] = []
    for name, label, pick in (
        ("test_accuracy", "test accuracy", max), ("test_rmse", "test RMSE", min), ("test_r2", "test R²", max),
        ("test_cost", "test cost", min),
    ):  # fmt: skip
        value = number(last.get(name))
        if value is not None:
            told.append([label, f"{value:.4g}", _remark(run, name, pick)])
    seconds = number(run.summary.get("wall_seconds"))
    if seconds is not None:
        told.append(["whole command", seconds_as_text(seconds), ""])
    speed = number(last.get("samples_per_second"))
    if speed is not None:
        told.append(["samples per second", f"{speed:,.0f}", "training loop alone"])
    lost = number(run.summary.get("recoveries"))
    if lost is None:
        lost = float(sum(record.get("kind") == "recovery" for record in run.timeline))
    told.append(["recoveries", f"{lost:,.0f}", "the result is the same without them" if lost else ""])
    return told


def _remark(run: Run, name: str, pick: Any) -> str:
    said = [
        f"{label} {value:.4g}"
        for label, value in (
            ("linear model", number(run.summary.get(f"linear_{name}"))),
            ("constant", number(run.summary.get(f"constant_{name}"))),
        )
        if value is not None
    ]
    best = best_of(run, name, pick)
    if not said and best is not None:
        said.append(f"best {best[0]:.4g} in epoch {best[1]:.0f}")
    return ", ".join(said)


def _environment(run: Run) -> list[list[str]]:
    arithmetic = mapping(run.settings.get("arithmetic"))
    began = next((record for record in run.timeline if record.get("kind") == "began"), {})
    found = {**mapping(began.get("environment")), **arithmetic}
    when = number(began.get("time"))
    rows = [["begun", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(began["time"]))]] if when else []
    rows += [[text(name), text(value)] for name, value in found.items()]
    data = run.settings.get("data")
    rows.append(["data", text(data)])
    rows.append(["data SHA-256", text(run.settings.get("data_sha256"))])
    if "weights_sha256" in run.summary:
        rows.append(["weights SHA-256", text(run.summary["weights_sha256"])])
    return rows


def _differences(runs: Sequence[Run]) -> list[list[Any]]:
    """Return the settings that are not the same in all runs, with each run's value."""
    names = different_settings([run.settings for run in runs])
    return [[text(name), [text(run.settings.get(name)) for run in runs]] for name in names]


def as_json(told: Mapping[str, Any]) -> str:
    """Return JSON that may stand within HTML: no character of it can end the element."""
    found = json.dumps(told, allow_nan=False, separators=(",", ":"))
    return found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def render_page(told: Mapping[str, Any]) -> str:
    """Return the whole page."""
    styles = [_asset(name) for name in _STYLES]
    scripts = [_asset(name) for name in _SCRIPTS]
    sources = "connect-src 'self'; " if told["live"] else ""
    policy = (
        f"default-src 'none'; {sources}img-src data:; style-src {_hashes(styles)}; script-src {_hashes(scripts)}; "
        "base-uri 'none'; form-action 'none'"
    )
    title = html.escape(" and ".join(run["name"] for run in told["runs"]))
    head = [
        "<!doctype html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<title>{title} · distbp report</title>",
        *(f"<style>{style}</style>" for style in styles),
        '<div id="page"></div>',
        "<noscript><p>This page draws its charts with scripts of its own; they are turned off here.</p></noscript>",
        f'<script type="application/json" id="told">{as_json(told)}</script>',
        *(f"<script>{script}</script>" for script in scripts),
    ]
    return "\n".join(head) + "\n"


def write_page(path: Path, told: Mapping[str, Any]) -> None:
    """Write the page, whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    page = render_page(told).encode("utf-8", "replace")
    with atomic_write(path) as beside:
        beside.write_bytes(page)


@cache
def _asset(name: str) -> str:
    return (files("distbp.report") / "assets" / name).read_text(encoding="utf-8")


def _hashes(texts: Sequence[str]) -> str:
    digests = (hashlib.sha256(each.encode()).digest() for each in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
