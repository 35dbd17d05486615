"""Print line and branch coverage per package of distbp, from the report of ``coverage json``."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

_COUNTS = ("covered_lines", "num_statements", "covered_branches", "num_branches")


def per_package(files: dict[str, dict[str, dict[str, int]]]) -> dict[str, Counter[str]]:
    """Return the counts of each package and of each top-level module."""
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for name, file in files.items():
        counts = Counter({count: file["summary"][count] for count in _COUNTS})
        parts = Path(name).parts
        package = ".".join(parts[:2]).removesuffix(".py")
        totals[package] += counts
        totals["all"] += counts
    return dict(sorted(totals.items(), key=lambda item: (item[0] == "all", item[0])))


def main() -> None:
    """Print the table."""
    report = json.loads(Path(sys.argv[1]).read_text())
    print(f"{'package':24}{'lines':>8}{'run':>8}{'branches':>10}{'run':>8}")
    for name, counts in per_package(report["files"]).items():
        lines, branches = (_share(counts[ran], counts[of]) for ran, of in (_COUNTS[:2], _COUNTS[2:]))
        print(f"{name:24}{counts['num_statements']:8}{lines:>8}{counts['num_branches']:10}{branches:>8}")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


if __name__ == "__main__":
    main()
