"""The timeline of a run: one line of JSON for each start, epoch, recovery and end, in the order in which they happen.

Every line has a ``kind``, a ``time`` in seconds since 1970, and a checksum:

- ``began``: a process started or resumed the run. ``step`` counts the steps done before; ``sizes`` are those of the
  layers; ``environment`` describes the machine.
- ``epoch``: an epoch ended. ``epoch`` is its number, ``began`` the time of its first step, ``seconds`` the duration of
  its steps; ``computing`` gives each worker's share of these seconds, ``serving`` the server's. ``time`` is when the
  record was written, after the evaluation.
- ``recovery``: a worker or server was lost. ``text`` names it and the cause; ``step`` is the current step.
- ``ended``: the run ended. ``how`` is finished, interrupted or failed; ``text`` is the error.

A killed process leaves no ``ended`` line; when the run is resumed, the next ``began`` follows.
"""

from __future__ import annotations

import json
import platform
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distbp.files.json_checks import anything, list_of, names_to, number, one_of, record, text, whole
from distbp.files.json_files import read_lines
from distbp.files.json_text import Unexpected, parse, sealed, unsealed
from distbp.files.regular import open_without_waiting
from distbp.parallel.step.records import TimeSpent
from distbp.version import __version__

NAME = "timeline.jsonl"
_MOST_RECOVERIES = 1000
"""Most recovery lines that one process writes; it bounds the size of the file."""
_LONGEST_TEXT = 500


class Timeline:
    """Appends to the timeline; if a write fails, it notes the failure once, and the run goes on without a timeline."""

    def __init__(self, folder: Path, sizes: Sequence[int], step: int, cores: int, note: Callable[[str], None]) -> None:
        """Record that this process starts the run, or resumes it after ``step`` steps."""
        self._path, self._note = folder / NAME, note
        self._offset = time.time() - time.perf_counter()  # read once: the system clock may be changed during the run
        self._recoveries = 0
        self._failed = False
        self._mode = "w" if step == 0 else "a"
        self._epoch_began, self._spent_before = time.perf_counter(), TimeSpent({}, 0.0)
        self._write("began", step=step, sizes=list(sizes), environment=environment(cores))

    def begin_epoch(self, spent: TimeSpent) -> None:
        """Start the clock of an epoch; ``spent`` is the time that the executor has used so far."""
        self._epoch_began, self._spent_before = time.perf_counter(), spent

    def end_epoch(self, epoch: int, seconds: float, spent: TimeSpent) -> None:
        """Record an epoch; ``seconds`` is the duration of its steps in this process."""
        before = self._spent_before
        computing = {name: each - before.computing.get(name, 0.0) for name, each in spent.computing.items()}
        self._write(
            "epoch",
            epoch=epoch,
            began=self._time(self._epoch_began),
            seconds=round(seconds, 4),
            computing={name: round(each, 4) for name, each in computing.items() if each > 0},
            serving=round(spent.serving - before.serving, 4),
        )

    def recovery(self, step: int, text: str) -> None:
        """Record the loss of a worker or server."""
        self._recoveries += 1
        if self._recoveries <= _MOST_RECOVERIES:
            self._write("recovery", step=step, text=text[:_LONGEST_TEXT])

    def ended(self, step: int, how: str, text: str = "") -> None:
        """Record the end of the run in this process."""
        self._write("ended", step=step, how=how, text=text[:_LONGEST_TEXT])

    def _time(self, counter: float) -> float:
        return round(self._offset + counter, 3)

    def _write(self, kind: str, **fields: Any) -> None:
        if self._failed:
            return
        line = json.dumps(sealed({"kind": kind, "time": self._time(time.perf_counter()), **fields}), allow_nan=False)
        try:
            with open(self._path, self._mode, encoding="utf-8", opener=open_without_waiting) as file:
                # a killed process may have left half a line
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
    """Return the lines of a run's timeline, without incomplete and damaged ones.

    Raises:
        RunError: the file cannot be read; a missing one counts as empty.
    """
    path = folder / NAME
    records: list[dict[str, Any]] = []
    for line in read_lines(path) if path.exists() else ():
        with suppress(Unexpected):
            fields, _ = unsealed(parse(line))
            _LINE(fields, "")
            records.append(fields)
    return records


def environment(cores: int) -> dict[str, Any]:
    """Return the versions, system and host of this process, as a ``began`` line records them."""
    described: dict[str, Any] = {
        "distbp": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "host": socket.gethostname(),
        "cores": cores,
    }
    with suppress(PackageNotFoundError):  # read from the package's metadata, since importing Ray takes a second
        described["ray"] = version("ray")
    return described
