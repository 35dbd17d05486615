"""The job on a cluster: run ``distbp train``, and restart it whenever its process is killed.

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

_MOST_ATTEMPTS = 20
_PAUSE_SECONDS = 1.0


def main(arguments: Sequence[str]) -> int:
    """Run the job and return its exit code."""
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
    # auto is the cluster of this job: Ray sets its address in the environment
    cluster = [] if _needs_no_cluster(rest) else ["--address", "auto"]
    run = ["--run-dir", str(path), "--resume", "auto", *cluster]
    command = [sys.executable, "-m", "distbp", "train", *run, *rest]
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        code = _run(command)
        if code >= 0:
            return code
        if -code in ENDING:
            return 130
        click.echo(f"the driver was killed (attempt {attempt}): restarting from its last checkpoint", err=True)
        time.sleep(_PAUSE_SECONDS)
    return 1


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SystemExit(f"Error: {path}: this user has no home folder: give an absolute path as --storage") from None


def _run(command: Sequence[str]) -> int:
    """Run a command, forward the signals that end a run, and return its exit code (-N if signal N ended it)."""
    process = subprocess.Popen(command)

    def forward(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in not_ignored()}
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _needs_no_cluster(arguments: Sequence[str]) -> bool:
    """Return whether the options have --workers 0 or an --address of their own."""
    is_in_process = any(name == "--workers" and value == "0" for name, value in pairwise(arguments))
    return is_in_process or "--workers=0" in arguments or any(each.startswith("--address") for each in arguments)


def _pack(directory: Path, checkpoints: bool) -> int:
    from distbp.runs.archive import pack

    if not directory.is_dir():
        click.echo(
            f"{directory} does not exist on {socket.gethostname()}: the run has not begun, or --storage is not shared"
        )
        return 1
    click.echo(pack(directory, checkpoints))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
