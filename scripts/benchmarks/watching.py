"""Measure the cost of the live view: tiny with the view in a terminal against --quiet, in turns."""

from __future__ import annotations

import argparse
import json
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from contestants import default_data


def samples_per_second(data: Path, workers: int, epochs: int, is_watched: bool) -> float:
    """Train once; return the speed of the training loop, including the view."""
    ours, theirs = pty.openpty()

    def read() -> None:
        try:
            while os.read(ours, 65536):
                pass
        except OSError:
            pass

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "distbp",
            "train",
            str(data),
            "--hidden",
            "30",
            "--batch-size",
            "64",
            "--shards",
            "2",
            "--optimizer",
            "sgd",
            "--workers",
            str(workers),
            "--epochs",
            str(epochs),
            "--run-dir",
            f"{folder}/run",
            *([] if is_watched else ["--quiet"]),
        ]
        subprocess.run(
            command, check=True, stderr=theirs, stdout=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm"}
        )
        summary = json.loads(Path(folder, "run", "summary.json").read_text(encoding="utf-8"))
    os.close(theirs)
    reader.join()
    os.close(ours)
    return float(summary["samples_per_second"])


def main() -> None:
    """Measure in turns and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=8, metavar="N", help="default: %(default)s")
    parser.add_argument("--data", type=Path, default=default_data(), metavar="FOLDER", help="with the MNIST IDX files")
    options = parser.parse_args()
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(options.rounds):
        for is_watched in (True, False) if turn % 2 else (False, True):
            speeds[is_watched].append(samples_per_second(options.data, options.workers, options.epochs, is_watched))
    watched, quiet = (statistics.median(speeds[is_watched]) for is_watched in (True, False))
    pairs = [quiet / watched - 1 for watched, quiet in zip(speeds[True], speeds[False], strict=True)]
    print(
        f"quiet {quiet:,.0f} samples/s, watched {watched:,.0f}: {100 * (quiet / watched - 1):+.2f} % of step time; "
        f"pairs {', '.join(f'{100 * pair:+.1f}' for pair in sorted(pairs))}"
    )


if __name__ == "__main__":
    main()
