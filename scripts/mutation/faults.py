"""The faults to try: those that the rules make in some lines, or the known ones."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from copied import Copy
from operators import Mutant, is_program, mutants_of

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
PACKAGES = ("data", "model", "nn", "optim", "parallel", "runs", "training")


@dataclass(frozen=True)
class Fault:
    """One fault, by rule or known: a file's new text, the lines it changes, and why it may survive."""

    says: str
    file: str
    text: str
    lines: tuple[int, int]
    may_live: str | None


def by_rule(copy: Copy, paths: Sequence[str], since: str | None) -> list[Fault]:
    """Return the faults by rule in these paths and in the lines that differ from a commit.

    Explained faults that no longer exist are named on stderr.
    """
    files = [name for name in copy.files if name.endswith(".py") and any(map(name.startswith, _folders()))]
    paths = [str(Path(path).resolve().relative_to(CHECKOUT)) for path in paths]
    for path in paths:
        if not any(_is_in(name, path) for name in files):
            sys.exit(f"{path}: nothing to change there, expected files or folders of {', '.join(_folders())}")
    changed = None if since is None else _changed_since(since)
    explained: dict[str, dict[str, str]] = tomllib.loads((HERE / "explained.toml").read_text())
    mutants = [mutant for name in files for mutant in mutants_of(name, copy.read(name))]
    there = {(mutant.name, mutant.change) for mutant in mutants}
    for function, changes in explained.items():
        for change in changes:
            if (function, change) not in there:
                print(f"explained.toml: {function} has no such fault any more: {change}", file=sys.stderr)

    def is_chosen(mutant: Mutant) -> bool:
        if paths and not any(_is_in(mutant.file, path) for path in paths):
            return False
        lines = range(mutant.first, mutant.last + 1)
        return changed is None or not changed.get(mutant.file, set()).isdisjoint(lines)

    return [
        Fault(
            f"{mutant.name} [{mutant.rule}]\n    {mutant.change}",
            mutant.file,
            mutant.text,
            (mutant.first, mutant.last),
            explained.get(mutant.name, {}).get(mutant.change),
        )
        for mutant in mutants
        if is_chosen(mutant)
    ]


def sampled(faults: Sequence[Fault], count: int | None, seed: int) -> list[Fault]:
    """Return a random sample of the faults, or all; leave out those that are not valid Python."""
    order = list(faults)
    if count is not None:
        random.Random(seed).shuffle(order)
    return list(islice((fault for fault in order if is_program(fault.text)), count))


def known(copy: Copy) -> list[Fault]:
    """Return the known faults at their current lines."""
    faults = []
    for fault in tomllib.loads((HERE / "known.toml").read_text())["fault"]:
        text = copy.read(fault["file"])
        count = text.count(fault["search"])
        if count != 1:
            sys.exit(
                f'known.toml: "{fault["says"]}": found its text {count} times in {fault["file"]}, expected once: adapt '
                "it to the current code"
            )
        first = text[: text.index(fault["search"])].count("\n") + 1
        last = first + fault["search"].rstrip("\n").count("\n")
        new = text.replace(fault["search"], fault["replace"])
        if not is_program(new):
            sys.exit(f'known.toml: "{fault["says"]}": its new text is not valid Python')
        faults.append(Fault(fault["says"], fault["file"], new, (first, last), fault.get("may_live")))
    return faults


def _folders() -> Iterator[str]:
    yield from (f"distbp/{package}/" for package in PACKAGES)


def _is_in(name: str, path: str) -> bool:
    return path in (".", name) or name.startswith(path.rstrip("/") + "/")


def _changed_since(ref: str) -> dict[str, set[int]]:
    """Return the lines of every file that were added or changed since a commit."""
    git = ("git", "diff", "--unified=0", "--no-color", "--no-ext-diff", ref, "--", "distbp")
    done = subprocess.run(git, cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"--since {ref}: {done.stderr.strip().splitlines()[0]}")
    return _changed_lines(done.stdout.splitlines())


def _changed_lines(diff: Iterable[str]) -> dict[str, set[int]]:
    lines: dict[str, set[int]] = {}
    name = ""
    for line in diff:
        if line.startswith("+++ "):
            name = line.removeprefix("+++ ").removeprefix("b/")
        elif match := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            start, count = int(match[1]), int(match[2] or 1)
            lines.setdefault(name, set()).update(range(start, start + count))
    return lines
