"""Time whole commands, from start to end, that train 784-128-10 on MNIST until the test accuracy is 97 %.

distbp, a plain DDP script and scikit-learn start from the same weights, see the rows in the same order in mini-batches
of 128 (SGD, rate 0.1, momentum 0.9) and are evaluated after every epoch. distbp trains for the number of epochs that an
untimed run needed; the others stop when they reach the target.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from contestants import BAD_USAGE, DDP, SKLEARN, Contestant, default_data
from processes import CommandError, end_on_signals
from tables import markdown, surroundings
from work import END_TO_END, KNOWN, MOMENTUM, RATE

MOST_EPOCHS = 30

Measured = tuple[float, int, float]
"""Seconds, epochs, and the test accuracy at the end."""


def train(workers: str, data: Path, epochs: int) -> tuple[float, list[float]] | None:
    """Run ``distbp train``; return its seconds and each epoch's test accuracy, or None for bad usage."""
    case = KNOWN[END_TO_END]
    with tempfile.TemporaryDirectory(prefix="distbp-bench-") as folder:
        settings = {
            "hidden": ",".join(map(str, case.hidden)),
            "batch-size": case.batch_size,
            "optimizer": "sgd",
            "lr": RATE,
            "momentum": MOMENTUM,
            "epochs": epochs,
            "workers": workers,
            "run-dir": Path(folder, "run"),
        }
        options = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
        command = Contestant(f"distbp train --workers {workers}", ("-m", "distbp", "train"))
        finished = command.run(str(data), *options)
        if finished.code == BAD_USAGE:
            return None
        if finished.code != 0:
            raise CommandError(f"{command.title}: {finished.err.strip()}")
        lines = Path(folder, "run", "metrics.jsonl").read_text().splitlines()
    return finished.seconds, [json.loads(line)["test_accuracy"] for line in lines]


def epochs_needed(data: Path, target: float) -> int:
    """Return how many epochs distbp needs, which is the same for any number of workers."""
    result = train("0", data, MOST_EPOCHS)
    reached = [i for i, accuracy in enumerate(result[1] if result else []) if accuracy >= target]
    if not reached:
        raise CommandError(f"distbp does not reach {target} in {MOST_EPOCHS} epochs")
    return reached[0] + 1


def measure_ours(workers: str, data: Path, epochs: int, target: float) -> Measured | None:
    """Time one run that reaches the target; return None if this version does not accept this number of workers."""
    result = train(workers, data, epochs)
    if result is None:
        return None
    seconds, accuracies = result
    if accuracies[-1] < target:
        raise CommandError(f"{workers} workers ended at {accuracies[-1]} after {epochs} epochs, 0 workers did not")
    return seconds, epochs, accuracies[-1]


def measure_peer(peer: Contestant, data: Path, target: float) -> Measured:
    """Time one run of a peer."""
    finished = peer.run(END_TO_END, "--data", str(data), "--target", str(target))
    content = peer.result(finished)
    return finished.seconds, content["epochs"], content["test_accuracy"]


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=default_data(), metavar="FOLDER", help="with the MNIST IDX files")
    parser.add_argument("--target", type=float, default=0.97, metavar="ACCURACY", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: %(default)s")
    options = parser.parse_args()
    end_on_signals()
    try:
        measured = _rounds(options.data, options.target, options.rounds)
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    rows = []
    for title, runs in measured.items():
        seconds = [run[0] for run in runs]
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        rows.append([title, f"{statistics.median(seconds):.2f}", spread, str(runs[0][1]), f"{runs[0][2]:.4f}"])
    print(f"{surroundings()}\n")
    print(markdown(["", "seconds", "range", "epochs", "test accuracy"], rows))
    return 0


def _rounds(data: Path, target: float, rounds: int) -> dict[str, list[Measured]]:
    """Return all contestants' measurements, interleaved."""
    epochs = epochs_needed(data, target)
    ours = {"distbp, auto": "auto", "distbp, in process": "0", "distbp, 2 workers": "2"}
    measured: dict[str, list[Measured]] = {}
    for number in range(rounds):
        results = {title: measure_ours(workers, data, epochs, target) for title, workers in ours.items()}
        results |= {peer.title: measure_peer(peer, data, target) for peer in (DDP, SKLEARN)}
        for title, one in results.items():
            if one is None:
                print(f"{title}: not in this version, left out", file=sys.stderr)
                del ours[title]
                continue
            measured.setdefault(title, []).append(one)
            print(f"round {number + 1} of {rounds}: {title}: {one[0]:.2f} s", file=sys.stderr, flush=True)
    return measured


if __name__ == "__main__":
    sys.exit(main())
