"""When what happened in a run: a line of JSON for each beginning, epoch, recovery and end, as they come.

Every line has a ``kind``, and ``time`` in seconds since 1970:

- ``began``: ``step``, the steps done before, ``sizes`` of the layers, and the ``environment``;
- ``epoch``: its number, ``began``, ``seconds`` of its steps, and of these what each worker was ``computing`` and the
  server was ``serving``; ``time`` is when it was evaluated and written;
- ``recovery``: ``step``, and ``text``: who was lost, and why;
- ``ended``: ``step``, ``how`` (finished, interrupted or failed) and ``text``.

A process that was killed leaves no end; when the run is resumed, another beginning follows. Each line carries a sum.
"""

from __future__ import annotations

import json
import platform
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distbp.files.json_checks import anything, list_of, names_to, number, one_of, record, text, whole
from distbp.files.json_files import read_lines
from distbp.files.json_text import Unexpected, parse, sealed, unsealed
from distbp.files.regular import open_without_waiting
from distbp.version import __version__

NAME = "timeline.jsonl"
_MOST_RECOVERIES = 1000
"""Lines that one process writes of recoveries, so that the file stays small whatever happens."""
_LONGEST_TEXT = 500


class Timeline:
    """Appends to the timeline; if that fails it says so once and stops, and the run goes on."""

    def __init__(self, folder: Path, sizes: Sequence[int], step: int, cores: int, note: Callable[[str], None]) -> None:
        """Note that a process begins or goes on with a run after ``step`` steps."""
        self._path, self._note = folder / NAME, note
        self._offset = time.time() - time.perf_counter()  # the clock of the day may be set meanwhile
        self._recoveries = 0
        self._failed = False
        self._mode = "w" if step == 0 else "a"
        self._write("began", step=step, sizes=list(sizes), environment=environment(cores))

    def epoch(self, number: int, began: float, seconds: float, computing: Mapping[str, float], serving: float) -> None:
        """Note that an epoch was done; ``began`` is the ``time.perf_counter()`` of its first step here."""
        spent = {name: round(each, 4) for name, each in computing.items() if each > 0}
        self._write(
            "epoch", epoch=number, began=self._time(began), seconds=round(seconds, 4), computing=spent,
            serving=round(serving, 4),
        )  # fmt: skip

    def recovery(self, step: int, text: str) -> None:
        """Note that somebody was lost."""
        self._recoveries += 1
        if self._recoveries <= _MOST_RECOVERIES:
            self._write("recovery", step=step, text=text[:_LONGEST_TEXT])

    def ended(self, step: int, how: str, text: str = "") -> None:
        """Note that the run has come to its end, or was ended."""
        self._write("ended", step=step, how=how, text=text[:_LONGEST_TEXT])

    def _time(self, counter: float) -> float:
        return round(self._offset + counter, 3)

    def _write(self, kind: str, **told: Any) -> None:
        if self._failed:
            return
        line = json.dumps(sealed({"kind": kind, "time": self._time(time.perf_counter()), **told}), allow_nan=False)
        try:
            with open(self._path, self._mode, encoding="utf-8", opener=open_without_waiting) as file:
                # a process that was killed may have left half a line
                file.write(f"\n{line}\n" if kind == "began" and self._mode == "a" else f"{line}\n")
            self._mode = "a"
        except OSError as error:
            self._failed = True
            self._note(f"{self._path} cannot be written: {error.strerror}; the run goes on without it")


_LINE = record(
    {"kind": one_of("began", "epoch", "recovery", "ended"), "time": number(0)},
    {
        "step": whole(),
        "sizes": list_of(whole(1)),
        "environment": names_to(anything),
        "epoch": whole(1),
        "began": number(0),
        "seconds": number(0),
        "computing": names_to(number(0)),
        "serving": number(0),
        "how": one_of("finished", "interrupted", "failed"),
        "text": text(),
    },
)


def read_timeline(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's timeline; those that were not written whole, or are damaged, are left out.

    Raises:
        RunError: the file cannot be read; one that is missing counts as empty.
    """
    path = folder / NAME
    records: list[dict[str, Any]] = []
    for line in read_lines(path) if path.exists() else ():
        with suppress(Unexpected):
            told, _ = unsealed(parse(line))
            _LINE(told, "")
            records.append(told)
    return records


def environment(cores: int) -> dict[str, Any]:
    """Return what a person wants to know of where a run was computed, beside its arithmetic."""
    found: dict[str, Any] = {
        "distbp": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "host": socket.gethostname(),
        "cores": cores,
    }
    with suppress(PackageNotFoundError):  # asked of the package's files, for importing Ray takes a second
        found["ray"] = version("ray")
    return found
