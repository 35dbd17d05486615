"""The live display of a run: lines of text for a terminal of any width."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from distbp.cli.progress_state import SCORES, RunProgress
from distbp.parallel.step.records import WorkerRecord

_BLOCKS, _BLOCKS_ASCII = "▁▂▃▄▅▆▇█", "_.-=+*#%"
_NARROW = 60
_LONGEST_CURVE, _LONGEST_BAR = 40, 40
_FEWEST_WORKERS = 2
_FEWEST_POINTS = 2
_SILENT_SECONDS = 2.0
"""A worker is marked as silent after this many seconds without a sign of life."""


def progress_lines(
    progress: RunProgress, width: int, height: int, workers: Sequence[WorkerRecord], is_ascii: bool = False
) -> list[str]:
    """Return the display of this moment: at most ``height`` lines of at most ``width`` characters."""
    now = time.monotonic()
    progress.refresh(now)
    is_narrow = width < _NARROW
    head = [
        *_position_lines(progress, width, is_narrow, is_ascii),
        *_score_lines(progress, width, is_ascii),
        _speed_line(progress, now, is_narrow),
    ]
    tail = _trouble_lines(progress)
    room = max(_FEWEST_WORKERS, height - len(head) - len(tail) - 1)
    lines = [*head, *_worker_lines(workers, room, is_narrow), *tail]
    return [_cut(line, width, is_ascii) for line in lines][: max(1, height)]


def _position_lines(progress: RunProgress, width: int, is_narrow: bool, is_ascii: bool) -> list[str]:
    """Return the lines of the current epoch and step, each with a bar."""
    epochs, per_epoch = progress.run.config.epochs, progress.run.steps_per_epoch
    epoch = max(1, math.ceil(progress.step / per_epoch))
    in_epoch = progress.step - (epoch - 1) * per_epoch
    parts = [
        (f"epoch {epoch:,}/{epochs:,}", progress.step / (epochs * per_epoch)),
        (f"step {in_epoch:,}/{per_epoch:,}", in_epoch / per_epoch),
    ]
    if is_narrow:
        return [f"{text}  {100 * share:.0f} %" for text, share in parts]
    label = max(len(text) for text, _ in parts)
    length = min(_LONGEST_BAR, width - label - 9)
    return [f"{text:{label}}  {bar(share, length, is_ascii)} {100 * share:3.0f} %" for text, share in parts]


def _score_lines(progress: RunProgress, width: int, is_ascii: bool) -> list[str]:
    """Return the lines of cost, training accuracy and test score, each with its curve."""
    epoch, last = progress.epoch, progress.last_metrics or {}
    cost = epoch.mean_cost if epoch.rows else (progress.costs[-1] if progress.costs else math.nan)
    rows: list[tuple[str, float, list[float]]] = [("cost", cost, progress.costs)]
    accuracy = epoch.right / epoch.rows if epoch.rows else last.get("train_accuracy")
    if accuracy is not None and (epoch.right or last.get("train_accuracy") is not None):
        rows.append(("train accuracy", accuracy, []))
    name = next((name for name in SCORES if last.get(name) is not None), None)
    if name is not None and progress.scores:
        rows.append((name.replace("_", " "), progress.scores[-1], progress.scores))
    label = max(len(text) for text, _, _ in rows)
    lines = []
    for text, value, values in rows:
        start = f"{text:{label}}  {value:<8.4g}" if math.isfinite(value) else f"{text:{label}}  -       "
        length = min(_LONGEST_CURVE, width - len(start) - 2)
        drawn = curve(values, length, is_ascii) if len(values) >= _FEWEST_POINTS else ""
        lines.append(f"{start}  {drawn}".rstrip())
    return lines


def _speed_line(progress: RunProgress, now: float, is_narrow: bool) -> str:
    """Return the line of speed, elapsed time and time left."""
    gap = "  " if is_narrow else "   "
    time_left = "" if progress.ended else f"{gap}{clock(progress.seconds_left(now))} left"
    elapsed = "" if is_narrow and time_left else f"{gap}{clock(now - progress.speed.began)} elapsed"
    return f"{progress.speed.rows_per_second:,.0f} samples/s{elapsed}{time_left}"


def _trouble_lines(progress: RunProgress) -> list[str]:
    """Return a line of the last epoch's findings and a line of the recoveries, if there are any."""
    layers_by_kind: dict[str, set[int]] = {}
    for finding in progress.findings:
        layers_by_kind.setdefault(str(finding["kind"]), set()).add(int(finding["layer"]))
    lines = []
    if layers_by_kind:
        findings = [
            f"{kind} in layer{'s' * (len(layers) > 1)} {', '.join(map(str, sorted(layers)))}"
            for kind, layers in layers_by_kind.items()
        ]
        lines.append(f"findings: {'; '.join(findings)}")
    if progress.recoveries:
        lines.append(f"recoveries: {progress.recoveries}, the last in step {progress.last_recovery_step:,}")
    return lines


def curve(values: Sequence[float], width: int, is_ascii: bool = False) -> str:
    """Return a sparkline of the values, oldest first; neighbours are averaged to fit the width.

    >>> curve([0, 1, 2, 3], 4), curve([0, 1, 2, 3], 2), curve([5, 5], 4), curve([], 4)
    ('▁▃▆█', '▁█', '▁▁', '')
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite or width < 1:
        return ""
    if len(finite) > width:
        edges = [column * len(finite) // width for column in range(width + 1)]
        finite = [sum(finite[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(finite), max(finite)
    marks = _BLOCKS_ASCII if is_ascii else _BLOCKS
    unit = (len(marks) - 1) / (high - low) if high > low else 0.0
    return "".join(marks[int((value - low) * unit + 0.5 * (value < high))] for value in finite)


def bar(share: float, width: int, is_ascii: bool = False) -> str:
    """Return a progress bar, filled to a share of its width.

    >>> bar(0.5, 4), bar(0.5, 4, is_ascii=True)
    ('━━──', '##--')
    """
    done = min(width, max(0, int(share * width)))
    full, empty = "#-" if is_ascii else "━─"
    return full * done + empty * (width - done)


def clock(seconds: float) -> str:
    """Return seconds as hours, minutes and seconds.

    >>> clock(3725.2), clock(float("nan"))
    ('1:02:05', '-:--:--')
    """
    if not math.isfinite(seconds):
        return "-:--:--"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _worker_lines(workers: Sequence[WorkerRecord], room: int, is_narrow: bool) -> list[str]:
    """Return a line per worker; without room for all, the most silent workers and a line that counts the others."""
    if len(workers) <= room:
        return [_worker_line(worker, is_narrow) for worker in workers]
    shown = sorted(sorted(workers, key=lambda worker: -worker.silent)[: room - 1])
    most_silent = max((worker.silent for worker in set(workers) - set(shown)), default=0.0)
    hosts = Counter(worker.host for worker in workers)
    where = "" if len(hosts) < 2 else f" of {len(workers)} on {len(hosts)} hosts"
    others = f"and {len(workers) - len(shown)} more workers{where}, each seen within {most_silent:.1f} s"
    return [*(_worker_line(worker, is_narrow) for worker in shown), others]


def _worker_line(worker: WorkerRecord, is_narrow: bool) -> str:
    first, stop = worker.shards
    shards = "no shard" if stop == first else f"shard {first}" if stop == first + 1 else f"shards {first}-{stop - 1}"
    is_silent = worker.silent > _SILENT_SECONDS
    seen = f"silent for {worker.silent:.1f} s" if is_silent else f"seen {worker.silent:.1f} s ago"
    compute = "" if worker.computing is None else f"compute {100 * worker.computing:3.0f} %"
    wait = "" if worker.computing is None else f"wait {100 * (1 - worker.computing):3.0f} %"
    if is_narrow:
        parts = [f"worker {worker.number}", compute, seen]
    else:
        parts = [f"worker {worker.number:<3}", worker.host[:24], f"{shards:11}", compute, wait, seen]
    return "  ".join(part for part in parts if part)


def _cut(line: str, width: int, is_ascii: bool) -> str:
    return line if len(line) <= width else line[: max(0, width - 1)] + ("." if is_ascii else "…")
