"""One fault against the tests that run its lines."""

from __future__ import annotations

from dataclasses import dataclass

from copied import PYTEST, Copy
from forked import TIMED_OUT
from recorded import Recorded

_MOST_SECONDS = 240.0  # of tests for one fault, by their recorded times: 700 tests may run one line
_PASSED, _NOTHING_RAN = 0, 5
_OPTIONS = ("-x", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-W", "ignore::pytest.PytestAssertRewriteWarning")


@dataclass(frozen=True)
class Outcome:
    """Whether the tests noticed a fault, and how many of those that run its lines were asked."""

    is_caught: bool
    says: str


def tried(copy: Copy, recorded: Recorded, file: str, text: str, lines: tuple[int, int]) -> Outcome:
    """Run the tests of the lines on the file's new text, the quickest first, until one fails."""
    tests = recorded.tests_of(file, copy.read(file), *lines)
    if not tests:
        return Outcome(False, "no test runs it")
    chosen = list[str]()
    total = 0.0
    for test in tests:
        total += recorded.seconds[test]
        if chosen and total > _MOST_SECONDS:
            break
        chosen.append(test)
    each = 30 + 10 * recorded.seconds[chosen[-1]]
    files = dict.fromkeys(test.split("::")[0] for test in chosen)
    with copy.changed(file, text):
        code, said = copy.pytest((*PYTEST, *_OPTIONS, f"--timeout={each:.0f}", *files), chosen, 60 + 5 * total)
    if code == _NOTHING_RAN:
        raise SystemExit(f"{file}: its tests have gone: remove the recording\n{said[-2000:]}")
    asked = f"{len(chosen)} of {len(tests)} tests" if len(chosen) < len(tests) else f"{len(tests)} tests"
    if code == _PASSED:
        return Outcome(False, f"{asked} pass")
    if code == TIMED_OUT:
        return Outcome(True, "timeout")
    failed = [line.split(" - ")[0].removeprefix("FAILED ") for line in said.splitlines() if line.startswith("FAILED ")]
    return Outcome(True, failed[0] if failed else "cannot be imported")
