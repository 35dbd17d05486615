"""Put one-line faults into a copy of distbp and test whether the tests without Ray detect each.

Without options it tries all faults by rule in data, model, nn, optim, parallel, runs and training (many hours);
--since, paths and --sample select some.
For every fault it runs the tests that execute its line, the quickest first, until one fails; a timeout counts as
caught. It first records which test runs which line, in build/mutants, in twice the time of these tests; later it
records only test files that have changed.
scripts/mutation/explained.toml explains faults that may survive; the score leaves them out.
Exit code: 0 if every fault was caught or explained, 1 if any other survived, 2 on bad usage.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from copied import Copy
from faults import CHECKOUT, Fault, by_rule, known, sampled
from recorded import Recorded
from trial import tried


def main() -> int:
    """Run the command; return its exit code."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="mutants-copy-") as folder:
        copy = Copy(CHECKOUT, Path(folder))
        if options.known:
            faults = known(copy)
        else:
            faults = sampled(by_rule(copy, options.paths, options.since), options.sample, options.seed)
        if options.list:
            for fault in faults:
                print(fault.says, f"\n    explained: {fault.may_live}" if fault.may_live else "")
            return 0
        recorded = Recorded(CHECKOUT / "build" / "mutants" / "recorded.gz")
        recorded.bring_up_to_date(copy)
        return _run(copy, recorded, faults, again=options.known)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "scripts/mutants", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("paths", nargs="*", help="Only in these files and folders of distbp/.")
    parser.add_argument("--since", metavar="REF", help="Only in lines that differ from this commit or branch.")
    parser.add_argument("--sample", type=int, metavar="N", help="Only N of the faults, drawn with --seed.")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="Seed of the drawing. [default: 0]")
    parser.add_argument("--known", action="store_true", help="The faults of scripts/mutation/known.toml instead.")
    parser.add_argument("--list", action="store_true", help="List the faults and do no more.")
    options = parser.parse_args()
    if options.known and (options.paths or options.since or options.sample):
        parser.error("--known takes all known faults: leave paths, --since and --sample out")
    return options


def _run(copy: Copy, recorded: Recorded, faults: list[Fault], again: bool) -> int:
    """Try the faults one by one, explained faults only if ``again``; print each, the score and the survivors."""
    survivors: list[Fault] = []
    caught = explained = 0
    for number, fault in enumerate(faults, 1):
        if fault.may_live is not None and not again:
            explained += 1
            continue
        outcome = tried(copy, recorded, fault.file, fault.text, fault.lines)
        word = "caught" if outcome.is_caught else "lives" if fault.may_live else "SURVIVED"
        caught += word == "caught"
        explained += word == "lives"
        if word == "SURVIVED":
            survivors.append(fault)
        print(f"{number}/{len(faults)} {word:8} {fault.says}\n    {outcome.says}", flush=True)
    tried_out = caught + len(survivors)
    print(f"\n{caught} of {tried_out} caught ({caught / max(tried_out, 1):.0%}), {explained} explained and left out")
    if survivors:
        print("survivors:")
    for fault in sorted(survivors, key=lambda fault: fault.says):
        print(f"  {fault.says}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
