"""How a run looks while it goes on: lines of text for a terminal of any width, made from what is known of it."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from distbp.parallel.step.records import StepRecord, WorkerRecord
from distbp.training.callbacks import EpochRecord, RunRecord

_RISING, _RISING_ASCII = "▁▂▃▄▅▆▇█", "_.-=+*#%"
_NARROW = 60
_LONGEST_CURVE, _LONGEST_BAR = 40, 40
_FEWEST_WORKERS = 2
_FEWEST_POINTS = 2
_SILENT = 2.0
"""Seconds of silence from which on a worker is marked."""
_QUALITIES = ("test_accuracy", "test_r2", "test_rmse")


def curve(values: Sequence[float], width: int, is_ascii: bool = False) -> str:
    """Return values as a line of small bars, the newest ones last; neighbours are averaged to make them fit.

    >>> curve([0, 1, 2, 3], 4), curve([0, 1, 2, 3], 2), curve([5, 5], 4), curve([], 4)
    ('▁▃▆█', '▁█', '▁▁', '')
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite or width < 1:
        return ""
    if len(finite) > width:
        edges = [place * len(finite) // width for place in range(width + 1)]
        finite = [sum(finite[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(finite), max(finite)
    marks = _RISING_ASCII if is_ascii else _RISING
    unit = (len(marks) - 1) / (high - low) if high > low else 0.0
    return "".join(marks[int((value - low) * unit + 0.5 * (value < high))] for value in finite)


def bar(share: float, width: int, is_ascii: bool = False) -> str:
    """Return a bar of this width, filled to this share.

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


@dataclass
class View:
    """What is known of a run that goes on."""

    run: RunRecord
    began: float = field(default_factory=time.monotonic)
    step: int = 0
    """Steps done."""
    rows: int = 0
    right: int = 0
    cost: float = 0.0
    """Sum over the rows of the epoch that is going on."""
    rows_seen: int = 0
    """Rows of all steps that this view has seen."""
    recoveries: int = 0
    lost_in: int = 0
    findings: Sequence[Any] = ()
    costs: list[float] = field(default_factory=list)
    """Of the epochs; within the first one, of the moments that were shown."""
    qualities: list[float] = field(default_factory=list)
    epochs: int = 0
    last: Any = None
    """The last epoch's record."""
    ended: bool = False
    _speed: float = 0.0
    _shown: tuple[float, int] = (0.0, 0)

    def see(self, record: StepRecord) -> None:
        """Take in a step."""
        rows = record.rows
        self.step = record.step + 1
        self.rows += rows
        self.rows_seen += rows
        self.right += record.right
        self.cost += record.cost * rows

    def see_epoch(self, record: EpochRecord) -> None:
        """Take in an epoch's end."""
        metrics = record.metrics
        if not self.epochs:
            self.costs.clear()
        self.epochs, self.last, self.step = record.epoch, metrics, record.step
        self.findings = metrics.get("findings") or ()
        if isinstance(metrics.get("train_cost"), float):
            self.costs.append(metrics["train_cost"])
        name = next((name for name in _QUALITIES if isinstance(metrics.get(name), float)), None)
        if name is not None:
            self.qualities.append(metrics[name])
        self.rows = self.right = 0
        self.cost = 0.0

    def lines(self, width: int, height: int, workers: Sequence[WorkerRecord], is_ascii: bool = False) -> list[str]:
        """Return the picture of this moment, no line longer than ``width`` and no more than ``height`` of them."""
        now = time.monotonic()
        is_narrow = width < _NARROW
        head = self._head(width, is_narrow, is_ascii) + self._numbers(width, is_ascii) + [self._pace(now, is_narrow)]
        tail = self._troubles()
        room = max(_FEWEST_WORKERS, height - len(head) - len(tail) - 1)
        lines = [*head, *_worker_lines(workers, room, is_narrow), *tail]
        return [_cut(line, width, is_ascii) for line in lines][: max(1, height)]

    def _head(self, width: int, is_narrow: bool, is_ascii: bool) -> list[str]:
        config, per_epoch = self.run.config, self.run.steps_per_epoch
        epoch = min(config.epochs, self.step // per_epoch + (self.rows > 0 or self.step == 0))
        in_epoch = self.step - max(0, epoch - 1) * per_epoch
        parts = [
            (f"epoch {epoch:,}/{config.epochs:,}", self.step / (config.epochs * per_epoch)),
            (f"step {in_epoch:,}/{per_epoch:,}", in_epoch / per_epoch),
        ]
        if is_narrow:
            return [f"{text}  {100 * share:.0f} %" for text, share in parts]
        label = max(len(text) for text, _ in parts)
        length = min(_LONGEST_BAR, width - label - 9)
        return [f"{text:{label}}  {bar(share, length, is_ascii)} {100 * share:3.0f} %" for text, share in parts]

    def _numbers(self, width: int, is_ascii: bool) -> list[str]:
        """Return lines for cost and accuracy with their curves."""
        cost = self.cost / self.rows if self.rows else (self.costs[-1] if self.costs else math.nan)
        told = [("cost", cost, self.costs)]
        if self.right or (self.last and self.last.get("train_accuracy") is not None):
            last = self.last["train_accuracy"] if self.last else 0.0
            told.append(("train accuracy", self.right / self.rows if self.rows else last, []))
        name = next((name for name in _QUALITIES if self.last and self.last.get(name) is not None), None)
        if name is not None and self.qualities:
            told.append((name.replace("_", " "), self.qualities[-1], self.qualities))
        label = max(len(text) for text, _, _ in told)
        lines = []
        for text, value, values in told:
            start = f"{text:{label}}  {value:<8.4g}" if math.isfinite(value) else f"{text:{label}}  -       "
            length = min(_LONGEST_CURVE, width - len(start) - 2)
            drawn = curve(values, length, is_ascii) if len(values) >= _FEWEST_POINTS else ""
            lines.append(f"{start}  {drawn}".rstrip())
        return lines

    def _pace(self, now: float, is_narrow: bool) -> str:
        """Return speed and times. The speed is that of the time since the picture before, evaluation included."""
        at, rows = self._shown
        if self.ended:
            self._speed = self.rows_seen / max(1e-9, now - self.began)
        elif self.rows_seen > rows:
            self._speed = (self.rows_seen - rows) / max(1e-9, now - (at or self.began))
        self._shown = now, self.rows_seen
        if not self.epochs and self.rows:
            self.costs.append(self.cost / self.rows)
        steps = self.run.config.epochs * self.run.steps_per_epoch
        done = self.step - self.run.step
        left = 0.0 if self.ended else (now - self.began) * (steps - self.step) / done if done else math.nan
        gap = "  " if is_narrow else "   "
        time_left = "" if self.ended else f"{gap}{clock(left)} left"
        gone = "" if is_narrow and time_left else f"{gap}{clock(now - self.began)} gone"
        return f"{self._speed:,.0f} samples/s{gone}{time_left}"

    def _troubles(self) -> list[str]:
        """Return what was found in the last epoch, and how often somebody was lost."""
        kinds: dict[str, list[int]] = {}
        for finding in self.findings:
            kinds.setdefault(str(finding["kind"]), []).append(int(finding["layer"]))
        lines = []
        if kinds:
            told = [
                f"{kind} in layer{'s' * (len(set(layers)) > 1)} {', '.join(map(str, sorted(set(layers))))}"
                for kind, layers in kinds.items()
            ]
            lines.append(f"findings: {'; '.join(told)}")
        if self.recoveries:
            lines.append(f"recoveries: {self.recoveries}, the last in step {self.lost_in:,}")
        return lines


def _worker_lines(workers: Sequence[WorkerRecord], room: int, is_narrow: bool) -> list[str]:
    """Return a line per worker; where there is no room for all, the most silent ones and a line for the others."""
    shown = list(workers)
    more = ""
    if len(shown) > room:
        hosts = Counter(worker.host for worker in workers)
        shown = sorted(sorted(workers, key=lambda worker: -worker.silent)[: room - 1])
        quiet = max((worker.silent for worker in set(workers) - set(shown)), default=0.0)
        on = "" if len(hosts) < 2 else f" of {len(workers)} on {len(hosts)} hosts"
        more = f"and {len(workers) - len(shown)} more workers{on}, each seen within {quiet:.1f} s"
    lines = []
    for worker in shown:
        first, stop = worker.shards
        held = "no shard" if stop == first else f"shard {first}" if stop == first + 1 else f"shards {first}-{stop - 1}"
        seen = f"silent for {worker.silent:.1f} s" if worker.silent > _SILENT else f"seen {worker.silent:.1f} s ago"
        share = "" if worker.computing is None else f"compute {100 * worker.computing:3.0f} %"
        waits = "" if worker.computing is None else f"wait {100 * (1 - worker.computing):3.0f} %"
        parts = [f"worker {worker.number}", share, seen] if is_narrow else [
            f"worker {worker.number:<3}", f"{worker.host[:24]}", f"{held:11}", share, waits, seen
        ]  # fmt: skip
        lines.append("  ".join(part for part in parts if part))
    return [*lines, more] if more else lines


def _cut(line: str, width: int, is_ascii: bool) -> str:
    return line if len(line) <= width else line[: max(0, width - 1)] + ("." if is_ascii else "…")
