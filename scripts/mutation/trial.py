"""One fault against the tests that run its lines."""

from __future__ import annotations

from dataclasses import dataclass

from copied import PYTEST, Copy
from forked import TIMED_OUT
from recorded import Recorded

_MOST_SECONDS = 240.0  # limit of the tests for one fault, by their recorded times: 700 tests may run one line
_FIRST_FILES, _FIRST_TESTS = 3, 40
"""What is tried first by itself, since most faults are caught there: to collect all files takes longer."""
_PASSED, _NOTHING_RAN = 0, 5
_OPTIONS = ("-x", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-W", "ignore::pytest.PytestAssertRewriteWarning")


@dataclass(frozen=True)
class Outcome:
    """Whether the tests detected a fault, and how many tests of its lines ran."""

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
    files = list(dict.fromkeys(_file(test) for test in chosen))[:_FIRST_FILES]
    first = [test for test in chosen if _file(test) in files][:_FIRST_TESTS]
    rest = [test for test in chosen if test not in set(first)]
    code, output = _PASSED, ""
    with copy.changed(file, text):
        for part in (first, rest):
            if part and code == _PASSED:
                code, output = _run(copy, recorded, part)
    if code == _NOTHING_RAN:
        raise SystemExit(f"{file}: its tests no longer exist: remove the recording\n{output[-2000:]}")
    count = f"{len(chosen)} of {len(tests)} tests" if len(chosen) < len(tests) else f"{len(tests)} tests"
    if code == _PASSED:
        return Outcome(False, f"{count} pass")
    if code == TIMED_OUT:
        return Outcome(True, "timeout")
    failed = [
        line.split(" - ")[0].removeprefix("FAILED ") for line in output.splitlines() if line.startswith("FAILED ")
    ]
    return Outcome(True, failed[0] if failed else "cannot be imported")


def _run(copy: Copy, recorded: Recorded, tests: list[str]) -> tuple[int, str]:
    """Run tests until one fails; return pytest's exit code and output."""
    seconds = [recorded.seconds[test] for test in tests]
    files = dict.fromkeys(map(_file, tests))
    arguments = (*PYTEST, *_OPTIONS, f"--timeout={20 + 5 * max(seconds):.0f}", *files)
    return copy.pytest(arguments, tests, 60 + 5 * sum(seconds))


def _file(test: str) -> str:
    return test.split("::")[0]
