"""Train by the code of two commits and compare what they compute, bit for bit.

Each commit is checked out in a temporary worktree, whose own package every process must import. Both train digits,
MNIST and adult with --workers 0 and 2: the weights and the model's files must be equal. NEW's code must also read
OLD's runs: evaluate and predict print the same bytes, and resume takes an interrupted run to the same weights.
MNIST and adult lie in the folder named by DISTBP_TEST_DATA, or in ../shared/data.
Exit code: 0 if all is the same, 1 if anything differs or a command failed, 2 on bad usage.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from commands import CommandError, Commit

CHECKOUT = Path(__file__).resolve().parents[2]
WORKERS = (0, 2)
WIDTH = 12
"""Digits of a hash that are printed."""


class Case(NamedTuple):
    """Data and the settings to train them with, which name all that a default may change."""

    name: str
    data: tuple[str, ...]
    test_data: str
    options: str


class Row(NamedTuple):
    """One comparison: of what, and the hashes by the code of both commits."""

    data: str
    workers: int
    what: str
    old: str
    new: str


class UsageError(Exception):
    """A commit or a data set that is not there."""


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        "scripts/same_bits", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("old", metavar="OLD", help="A commit, branch or tag.")
    parser.add_argument("new", metavar="NEW", help="Another one.")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        cases = _cases()
        with (
            tempfile.TemporaryDirectory(prefix="same-bits-") as folder,
            _checked_out(options.old, Path(folder).resolve() / "old") as old,
            _checked_out(options.new, Path(folder).resolve() / "new") as new,
        ):
            differing = _compare(old, new, cases)
    except UsageError as error:
        print(f"same_bits: {error}", file=sys.stderr)
        return 2
    except CommandError as error:
        print(f"same_bits: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("same_bits: interrupted", file=sys.stderr)
        return 130
    if differing:
        print(f"same_bits: {differing} results of {options.new} differ from those of {options.old}", file=sys.stderr)
    return 1 if differing else 0


def _cases() -> list[Case]:
    given = os.environ.get("DISTBP_TEST_DATA")
    folder = Path(given).resolve() if given else CHECKOUT.parent / "shared" / "data"
    mnist, adult = folder / "mnist", folder / "adult"
    for path in (mnist, adult / "adult.data", adult / "adult.test"):
        if not path.exists():
            raise UsageError(f"no {path}: set DISTBP_TEST_DATA to the folder that holds mnist/ and adult/")
    test = str(adult / "adult.test")
    return [
        Case(
            "digits",
            ("digits",),
            "digits",
            "--hidden 64,32 --activation tanh --dtype float64 --optimizer sgd --lr 0.1 --momentum 0.9 "
            "--schedule one-cycle --dropout 0.1 --clip-norm 1 --batch-size 64 --shards 4 --epochs 10 --seed 3",
        ),
        Case(
            "mnist",
            (str(mnist),),
            str(mnist),
            "--hidden 128 --activation relu --dtype float32 --optimizer adam --lr 0.001 "
            "--schedule constant --batch-size 128 --shards 2 --epochs 6 --seed 0",
        ),
        Case(
            "adult",
            (str(adult / "adult.data"), "--test-file", test, "--target", "-1"),
            test,
            "--hidden 64 --activation swish --dtype float32 --optimizer adamw --lr 0.002 --schedule cosine --l2 0.0001 "
            "--early-stopping 2 --validation-fraction 0.1 --batch-size 256 --shards 2 --epochs 5 --seed 1",
        ),
    ]


@contextmanager
def _checked_out(name: str, folder: Path) -> Iterator[Commit]:
    """Check a commit out for as long as the block takes."""
    resolved = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if resolved.returncode:
        raise UsageError(f"no commit {name} in {CHECKOUT}")
    tree, runs = folder / "tree", folder / "runs"
    runs.mkdir(parents=True)
    try:
        added = _git("worktree", "add", "--quiet", "--detach", str(tree), resolved.stdout.strip())
        if added.returncode:
            raise CommandError(f"git cannot check out {name}: {added.stderr.strip()}")
        yield Commit(name, tree, runs)
    finally:
        _git("worktree", "remove", "--force", "--force", str(tree))  # twice: an interrupted checkout is locked


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    # In a session of its own: a Ctrl-C ends this script, which then still needs git to remove the worktrees
    return subprocess.run(
        ("git", *arguments), cwd=CHECKOUT, capture_output=True, text=True, check=False, start_new_session=True
    )


def _compare(old: Commit, new: Commit, cases: list[Case]) -> int:
    """Compare all cases and print a row for each result; return how many differ."""
    print(f"{'data':8}{'workers':9}{'result':21}{'old':{WIDTH + 2}}{'new':{WIDTH + 2}}same")
    differing = 0
    for case in cases:
        for row in _rows(old, new, case):
            same = row.old == row.new
            differing += not same
            hashes = f"{row.old[:WIDTH]:{WIDTH + 2}}{row.new[:WIDTH]:{WIDTH + 2}}"
            print(f"{row.data:8}{row.workers:<9}{row.what:21}{hashes}{'yes' if same else 'NO'}", flush=True)
    return differing


def _rows(old: Commit, new: Commit, case: Case) -> Iterator[Row]:
    for workers in WORKERS:
        of_old, of_new = (_trained(commit, case, workers) for commit in (old, new))
        for what in of_old:
            yield Row(case.name, workers, what, of_old[what], of_new[what])
    run = old.folder / f"{case.name}-{WORKERS[0]}"
    for what, command in (("old's run evaluated", ("evaluate", "--json")), ("old's run predicted", ("predict",))):
        outputs = [commit.run(*command, run, case.test_data) for commit in (old, new)]
        yield Row(case.name, WORKERS[0], what, *map(_sha256, outputs))
    if case.name == "mnist":  # whose epochs are long enough to interrupt the run in the second one
        yield Row(case.name, WORKERS[0], "old's run resumed", _weights(run), _resumed(old, new, case))


def _trained(commit: Commit, case: Case, workers: int) -> dict[str, str]:
    """Train, and return the hashes of the results."""
    run = commit.folder / f"{case.name}-{workers}"
    commit.run(*_train(case, workers, run), processes=1 + workers)
    files = {name: _sha256((run / name).read_bytes()) for name in ("model.json", "model.safetensors")}
    return {"weights": _weights(run), **files}


def _resumed(old: Commit, new: Commit, case: Case) -> str:
    """Interrupt a run by old code and resume it by new code; return the hash of the weights at its end."""
    run = old.folder / f"{case.name}-interrupted"
    old.interrupt_after_an_epoch(*_train(case, WORKERS[0], run))
    new.run("resume", run)
    return _weights(run)


def _train(case: Case, workers: int, run: Path) -> list[str]:
    return ["train", *case.data, *case.options.split(), "--workers", str(workers), "--run-dir", str(run)]


def _weights(run: Path) -> str:
    """Return the hash of the weights that a run's summary names."""
    weights = json.loads((run / "summary.json").read_text(encoding="utf-8"))["weights_sha256"]
    assert isinstance(weights, str)
    return weights


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
