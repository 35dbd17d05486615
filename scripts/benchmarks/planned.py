"""Compare the step time that distbp plan predicts on this machine with the one that distbp bench measures.

In every round each case is planned once, with the shards of two workers, then timed with 0, 1 and 2 workers and the
same shards. Medians over the rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from contestants import default_data
from processes import CommandError, end_on_signals, run
from tables import markdown

from distbp.planning.bench import CASES

WORKERS = (0, 1, 2)
ALIKE = 1.05
"""Either choice counts as right if the best steps differ by less than this factor."""


def distbp(*arguments: str) -> Any:
    """Return the JSON that a command prints."""
    finished = run([sys.executable, "-m", "distbp", *arguments, "--json"])
    if finished.code:
        raise CommandError(f"distbp {' '.join(arguments)}: {finished.err}")
    return json.loads(finished.out)


def planned(case: str, data: Path) -> dict[int, float]:
    """Return the expected milliseconds of a step by the number of workers."""
    settings = CASES[case]
    plan = distbp(
        "plan",
        str(data),
        "--hidden",
        ",".join(map(str, settings.hidden)),
        "--batch-size",
        str(settings.batch_size),
        "--optimizer",
        "sgd",
        "--lr",
        "0.1",
        "--initial",
        "he",
        "--shards",
        "2",
        "--workers",
        "2",
    )
    return {choice["workers"]: choice["step_ms"] for choice in plan["choices"]}


def measured(case: str, data: Path, workers: int, steps: int) -> float:
    """Return the median milliseconds of a step."""
    options = ("--workers", str(workers), "--shards", "2", "--steps", str(steps))
    return float(distbp("bench", case, "--data", str(data), *options)["step_ms"])


def main() -> int:
    """Compare, print, and return the exit code: 1 if a step is off by more than --within, or a choice is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), metavar="A,B", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument("--data", type=Path, default=default_data(), metavar="FOLDER", help="with the MNIST IDX files")
    parser.add_argument("--within", type=float, default=0.25, metavar="SHARE", help="default: %(default)s")
    options = parser.parse_args()
    end_on_signals()
    rows, is_good = [], True
    for case in options.cases.split(","):
        expected: dict[int, list[float]] = {workers: [] for workers in WORKERS}
        steps: dict[int, list[float]] = {workers: [] for workers in WORKERS}
        for _ in range(options.rounds):
            for workers, step in planned(case, options.data).items():
                expected[workers].append(step)
            for workers in WORKERS:
                steps[workers].append(measured(case, options.data, workers, max(20, CASES[case].steps // 4)))
        plan, real = (
            {workers: statistics.median(times) for workers, times in each.items()} for each in (expected, steps)
        )
        choice = min(plan, key=lambda workers: plan[workers])
        is_right = real[choice] <= ALIKE * min(real.values())
        for workers in WORKERS:
            off = plan[workers] / real[workers] - 1
            is_good &= abs(off) <= options.within and is_right
            mark = "" if workers != choice else "chosen, right" if is_right else "chosen, WRONG"
            rows.append(
                [case, str(workers), f"{plan[workers]:.3f}", f"{real[workers]:.3f}", f"{100 * off:+.0f} %", mark]
            )
    print(markdown(["case", "workers", "planned ms", "measured ms", "off", "choice"], rows))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
