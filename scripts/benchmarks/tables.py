"""The printed tables: measurements, the important ratios, and the machine."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np  # noqa: F401 # loads the BLAS to describe
from contestants import AUTO, DDP, FLOOR, IN_PROCESS, ONE, RAY_TRAIN, SKLEARN, TWO, Contestant, Report
from threadpoolctl import threadpool_info
from work import KNOWN

Results = Mapping[Contestant, Sequence[Report]]
"""A case's measurements."""

_PACKAGES = ("distbp", "numpy", "torch", "ray", "scikit-learn")
_NONE = "–"  # noqa: RUF001 # a dash for readers


def case_table(case: str, steps: int, results: Results) -> str:
    """Return the medians of one case."""
    rows = []
    for contestant, reports in results.items():
        speeds = [report.samples_per_s for report in reports]
        accuracies = [report.test_accuracy for report in reports if report.test_accuracy is not None]
        chosen = sorted({report.workers for report in reports if report.workers is not None})
        title = contestant.title
        if contestant is AUTO:
            title += f" (chose {', '.join(map(str, chosen))})"
        rows.append(
            [
                title,
                f"{statistics.median(speeds):,.0f}",
                f"{min(speeds):,.0f} to {max(speeds):,.0f}",
                f"{statistics.median(report.step_ms for report in reports):.3f}",
                f"{statistics.median(accuracies):.4f}" if accuracies else _NONE,
            ]
        )
    hidden = "-".join(map(str, KNOWN[case].hidden))
    rounds = max(map(len, results.values()))
    head = f"### {case}: 784-{hidden}-10, mini-batch {KNOWN[case].batch_size}, {steps} steps, rounds: {rounds}"
    return f"{head}\n\n{markdown(['', 'samples/s', 'range', 'ms per step', 'test accuracy'], rows)}"


def ratio_table(results: Mapping[str, Results]) -> str:
    """Return the ratios of medians, a line per case."""
    columns = [
        "case",
        "2 workers / DDP",
        "best choice / DDP",
        "best choice / Ray Train",
        "best choice / scikit-learn",
        "2 workers / GEMM floor",
        "2 workers / 1 worker",
        "auto / best of 0, 1, 2",
    ]
    text = f"### Ratios of medians\n\n{markdown(columns, [[case, *_ratios(of)] for case, of in results.items()])}"
    if any(AUTO not in of for of in results.values()):
        text += "\n\nThis version has no `--workers auto`: the best choice is the fastest of 0, 1 and 2 workers."
    return text


def _ratios(results: Results) -> list[str]:
    medians = {title: statistics.median(report.samples_per_s for report in results[title]) for title in results}
    best = max(medians[title] for title in (IN_PROCESS, ONE, TWO))
    choice = medians.get(AUTO, best)

    def ratio(speed: float | None, other: float | None) -> str:
        return _NONE if speed is None or other is None else f"{speed / other:.2f}"

    return [
        ratio(medians[TWO], medians.get(DDP)),
        ratio(choice, medians.get(DDP)),
        ratio(choice, medians.get(RAY_TRAIN)),
        ratio(choice, medians.get(SKLEARN)),
        ratio(medians[TWO], medians.get(FLOOR)),
        ratio(medians[TWO], medians[ONE]),
        ratio(medians.get(AUTO), best),
    ]


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns, all but the first one to the right."""
    table = [list(columns), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = f"| {' | '.join('-' * (width - bool(i)) + ':' * bool(i) for i, width in enumerate(widths))} |"
    return "\n".join([line(table[0]), rule, *map(line, table[1:])])


def surroundings() -> str:
    """Return the date, the machine and the versions of the measurement."""
    blas = sorted(
        f"{library['internal_api']} {library['version']} ({library.get('architecture')})"
        for library in threadpool_info()
        if library["user_api"] == "blas"
    )
    facts = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores, {platform.machine()}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "NumPy's BLAS": ", ".join(blas),
        **{name: _version(name) for name in _PACKAGES},
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _cpu_model() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
