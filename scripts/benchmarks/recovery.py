"""Measure the cost of a failure, and the cost of the preparation while nothing fails.

After a kill or a freeze: the time until the next step is done. Without a failure: steps with checkpoints as often as
the disk takes them, against steps without. Over many steps of a small network: memory, open files and threads.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from contestants import default_data

import distbp
from distbp.parallel.step.records import StepRecord

TIMEOUT = 3.0


class Fault(distbp.Callback):
    """Sends a signal at a step and measures the time until a later step is done."""

    def __init__(self, name: str, number: signal.Signals, step: int) -> None:
        self._name, self._number, self._step = name, number, step
        self._sent = self._last = 0.0
        self.gap = 0.0

    def on_step(self, record: StepRecord) -> None:
        """Record the time of a step."""
        now = time.perf_counter()
        if self._sent and now - self._sent < 2 * TIMEOUT + 5:
            self.gap = max(self.gap, now - max(self._sent, self._last))
        if not self._sent and record.step >= self._step:
            victims = [
                process
                for process in psutil.Process().children(recursive=True)
                if " ".join(process.cmdline()).startswith(f"ray::{self._name}.")
            ]
            victims[0].send_signal(self._number)
            self._sent = now
        self._last = now


def gaps(data: distbp.DataSet, name: str, number: signal.Signals, rounds: int, workers: int) -> list[float]:
    """Return the longest time without a step after each of several faults."""
    seconds = []
    for _ in range(rounds):
        fault = Fault(name, number, 200)
        epochs = 8 + 8 * (number == signal.SIGSTOP)
        distbp.train(data, workers=workers, shards=4, epochs=epochs, timeout=TIMEOUT, callbacks=[fault])
        seconds.append(fault.gap)
    return seconds


def checkpoint_cost(data: distbp.DataSet, rounds: int) -> tuple[float, float]:
    """Return the median seconds of a step of 784-512-512-10 with the default checkpoints, and without any."""
    with_them, without = [], []
    settings = {"hidden": (512, 512), "batch_size": 1024, "workers": 2, "epochs": 8}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="distbp-bench-") as folder:
            kept = distbp.train(data, run_dir=Path(folder, "run"), **settings)
        with_them.append(1 / kept.summary["samples_per_second"])
        without.append(1 / distbp.train(data, **settings).summary["samples_per_second"])
    return 1024 * statistics.median(with_them), 1024 * statistics.median(without)


class Usage(distbp.Callback):
    """Samples the memory, open files and threads of all processes of the run."""

    def __init__(self, every: int) -> None:
        self._every = every
        self.seen: list[tuple[int, float, int, int, float]] = []

    def on_step(self, record: StepRecord) -> None:
        """Take a sample."""
        if record.step % self._every == 0:
            own = psutil.Process()
            mine = [own, *(p for p in own.children(recursive=True) if " ".join(p.cmdline()).startswith("ray::_"))]
            size = sum(process.memory_info().rss for process in mine) / 2**20
            shared = sum(file.stat().st_size for file in Path("/dev/shm").rglob("*") if file.is_file()) / 2**20
            files, threads = sum(p.num_fds() for p in mine), sum(p.num_threads() for p in mine)
            self.seen.append((record.step, size, files, threads, shared))


def main() -> int:
    """Measure and print."""
    options = _options()
    data = distbp.load(options.data)
    for title, name, number, workers in (
        ("a worker killed, 2 workers", "_Worker", signal.SIGKILL, 2),
        ("the only worker killed", "_Worker", signal.SIGKILL, 1),
        ("the server killed", "_Server", signal.SIGKILL, 2),
        (f"the only worker frozen, --timeout {TIMEOUT:g}", "_Worker", signal.SIGSTOP, 1),
        (f"the server frozen, --timeout {TIMEOUT:g}", "_Server", signal.SIGSTOP, 2),
    ):
        _print(title, gaps(data, name, number, options.rounds, workers))
    kept, bare = checkpoint_cost(data, options.rounds)
    print(f"a step of 784-512-512-10: {1000 * kept:.3f} ms kept in a run directory, {1000 * bare:.3f} ms not kept")
    usage = Usage(10_000)
    steps_per_epoch = -(-len(data.train) // 64)
    epochs = -(-100_000 // steps_per_epoch)
    with tempfile.TemporaryDirectory(prefix="distbp-bench-") as folder:
        distbp.train(
            data,
            hidden=(30,),
            batch_size=64,
            workers=2,
            shards=2,
            epochs=epochs,
            callbacks=[usage],
            run_dir=Path(folder, "run"),
            checkpoint_seconds=2.0,
        )
    for step, size, files, threads, shared in usage.seen:
        print(f"step {step}: {size:.0f} MiB resident, {files} open files, {threads} threads, {shared:.1f} MiB shared")
    return 0


def _print(title: str, gaps: Sequence[float]) -> None:
    print(f"{title}: median {statistics.median(gaps):.2f} s of {', '.join(f'{gap:.2f}' for gap in gaps)}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--data", type=Path, default=default_data(), metavar="FOLDER", help="with the MNIST IDX files")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
