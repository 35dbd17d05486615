"""The job on a cluster: run ``distbp train``, and start it again while the driver is killed.

``python -m distbp.cli.cluster_job RUN_DIRECTORY [options] -- DATA..`` trains. With ``--sent HASH`` in front, it first
compares the data in the working directory with the data that were uploaded. ``--pack RUN_DIRECTORY`` prints the run
directory's files instead, for a machine that cannot read the cluster's storage.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType

import click

from distbp.data.upload import check_arrived
from distbp.errors import DataError
from distbp.system.signals import ENDING, not_ignored

_MOST_TRIES = 20
_PAUSE_SECONDS = 1.0


def main(arguments: Sequence[str]) -> int:
    """Return the exit code of the run, once that is not the end of a killed process."""
    if arguments and arguments[0] == "--pack":
        return _pack(_expanded(arguments[1]), "--checkpoints" in arguments)
    if arguments and arguments[0] == "--sent":
        try:
            check_arrived(Path.cwd(), arguments[1])
        except DataError as error:
            click.echo(f"Error: {error}", err=True)
            return 1
        arguments = arguments[2:]
    run_directory, *rest = arguments
    path = _expanded(run_directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    cluster = [] if _computes_alone(rest) else ["--address", "auto"]  # a job is told its cluster by the environment
    run = ["--run-dir", str(path), "--resume", "auto", *cluster]
    command = [sys.executable, "-m", "distbp", "train", *run, *rest]
    for attempt in range(1, _MOST_TRIES + 1):
        code = _run(command)
        if code >= 0:
            return code
        if -code in ENDING:
            return 130
        click.echo(f"the driver was killed (attempt {attempt}): it goes on from its last checkpoint", err=True)
        time.sleep(_PAUSE_SECONDS)
    return 1


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SystemExit(f"Error: {path}: no home folder is known here; name an absolute path with --storage") from None


def _run(command: Sequence[str]) -> int:
    """Run a command, pass on signals that end a run, and return its exit code; below 0 if a signal ended it."""
    process = subprocess.Popen(command)

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in not_ignored()}
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _computes_alone(arguments: Sequence[str]) -> bool:
    """Return whether --workers 0 is asked for, or another address."""
    asked = any(name == "--workers" and value == "0" for name, value in pairwise(arguments))
    return asked or "--workers=0" in arguments or any(each.startswith("--address") for each in arguments)


def _pack(directory: Path, checkpoints: bool) -> int:
    from distbp.runs.archive import pack

    if not directory.is_dir():
        click.echo(f"{directory} is not there on {socket.gethostname()}: the run has not begun, or is kept elsewhere")
        return 1
    click.echo(pack(directory, checkpoints))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
