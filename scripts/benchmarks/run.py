"""Measure distbp against PyTorch DDP, Ray Train, scikit-learn and the bare matrix products on this machine.

Every contestant does the same steps from the same initial weights in the same order of rows, in its own processes. The
contestants take turns for several rounds, so that slow moments of the machine hit all of them. Medians are compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from contestants import OURS, PEERS, Contestant, Report, check_accuracies, default_data
from processes import CommandError, end_on_signals
from tables import case_table, ratio_table, surroundings

from distbp.planning.bench import CASES


def main() -> int:
    """Measure, print, and return the exit code."""
    options = _options()
    end_on_signals()
    results = {}
    try:
        for case in options.cases:
            steps = options.steps or CASES[case].steps
            results[case] = _measure(case, steps, options.data, options.rounds, options.peers)
            print(f"{case_table(case, steps, results[case])}\n", flush=True)
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(ratio_table(results))
    if options.out is not None:
        tables = [case_table(case, options.steps or CASES[case].steps, results[case]) for case in results]
        parts = ["# distbp and its peers", surroundings(), ratio_table(results), *tables]
        options.out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        print(f"written to {options.out}", file=sys.stderr)
    return 0


def _measure(
    case: str, steps: int, data: Path, rounds: int, peers: Sequence[Contestant]
) -> dict[Contestant, list[Report]]:
    """Return all contestants' reports on one case.

    Raises:
        CommandError: a contestant failed, or its accuracy differs from the others'.
    """
    reports: dict[Contestant, list[Report]] = {}
    missing: set[Contestant] = set()
    for number in range(rounds):
        for contestant in (*OURS, *peers):
            if contestant in missing:
                continue
            report = contestant.measure(case, data, steps)
            if report is None:
                missing.add(contestant)
                _note(f"{case}: {contestant.title}: not in this version, left out")
                continue
            reports.setdefault(contestant, []).append(report)
            _note(f"{case}, round {number + 1} of {rounds}: {contestant.title}: {report.samples_per_s:,.0f} samples/s")
        check_accuracies(case, {contestant.title: results[-1].test_accuracy for contestant, results in reports.items()})
    return reports


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {"cases": list(CASES), "peers": list(PEERS)}
    parser.add_argument("--cases", default=",".join(names["cases"]), metavar="A,B", help="default: %(default)s")
    parser.add_argument("--peers", default=",".join(names["peers"]), metavar="A,B", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--steps", type=int, metavar="N", help="timed steps; default: what takes some seconds")
    parser.add_argument("--data", type=Path, default=default_data(), metavar="FOLDER", help="with the MNIST IDX files")
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="write the tables here, with machine and versions")
    options = parser.parse_args()
    for option, known in names.items():
        chosen = [name for name in getattr(options, option).split(",") if name]
        if unknown := [name for name in chosen if name not in known]:
            parser.error(f"--{option} knows {', '.join(known)}; found {', '.join(unknown)}")
        setattr(options, option, chosen)
    options.peers = [PEERS[name] for name in options.peers]
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if not options.data.is_dir():
        parser.error(f"no MNIST at {options.data}: name its folder with --data")
    return options


if __name__ == "__main__":
    sys.exit(main())
