"""A pytest plugin for the two runs of ``scripts/mutants``: one records which test runs a line, one runs chosen tests.

``MUTANTS_TRACED`` names the file that gets the seconds of every test that passed; coverage, which runs around pytest,
gets the test's name as its context, also in processes that the test starts.
``MUTANTS_CHOSEN`` names a file with the tests to run, one per line, in this order.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_ENVIRONMENT = "COVERAGE_PROCESS_CONFIG"  # coverage's own: the configuration of processes that are started
_seconds: dict[str, float] = {}
_failed: set[str] = set()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep only the chosen tests, in their order."""
    if "MUTANTS_CHOSEN" not in os.environ:
        return
    chosen = Path(os.environ["MUTANTS_CHOSEN"]).read_text().splitlines()
    order = {name: position for position, name in enumerate(chosen)}
    items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Give coverage the name of the test, in this process and in those that it starts."""
    if "MUTANTS_TRACED" not in os.environ:
        return (yield)
    import coverage

    current = coverage.Coverage.current()
    assert current is not None, "the tests are traced by coverage run -m pytest"
    current.config.context = item.nodeid
    os.environ[_ENVIRONMENT] = current.config.serialize()
    current.switch_context(item.nodeid)
    start = time.perf_counter()
    try:
        return (yield)
    finally:
        current.switch_context("")
        _seconds[item.nodeid] = time.perf_counter() - start


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record a test that did not pass: it cannot tell a mutant from the program."""
    if report.outcome != "passed":
        _failed.add(report.nodeid)


def pytest_sessionfinish() -> None:
    """Write the seconds of the tests that passed."""
    if "MUTANTS_TRACED" in os.environ:
        passed = {name: seconds for name, seconds in _seconds.items() if name not in _failed}
        Path(os.environ["MUTANTS_TRACED"]).write_text(json.dumps(passed))
