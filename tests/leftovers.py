"""A plugin: a test that leaves something behind fails, and what it left is removed before the next test.

It checks for unclosed files and sockets, live processes, and changes of what all tests share: environment, working
folder, signal handlers and distbp's list of interrupts.
"""

import gc
import os
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from processes import end_what_was_started

from distbp.system.signals import ENDING, interrupts

_OF_LIBRARIES = ("PYTEST_", "RAY_", "MLFLOW_", "_MLFLOW_", "TF_", "KMP_", "GIT_PYTHON_", "CRC32C_")
"""What begins so is set by pytest and by libraries when they are loaded or started, once for all."""


class Shared(NamedTuple):
    """State that all tests of this process share."""

    environment: dict[str, str]
    folder: str
    handlers: dict[signal.Signals, Any]
    interrupts: list[int]

    @classmethod
    def now(cls) -> "Shared":
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OF_LIBRARIES)}
        return cls(environment, os.getcwd(), {each: signal.getsignal(each) for each in ENDING}, list(interrupts))  # noqa: PTH109

    def changes(self, found: "Shared") -> list[str]:
        pairs = self.environment.items() ^ found.environment.items()
        told = [f"{name} in the environment" for name in sorted({name for name, _ in pairs})]
        others = zip(self._fields[1:], self[1:], found[1:], strict=True)
        return told + [f"{name}, from {before} to {after}" for name, before, after in others if before != after]

    def restore(self, found: "Shared") -> None:
        for name in found.environment.keys() - self.environment.keys():
            del os.environ[name]
        os.environ.update(self.environment)
        os.chdir(self.folder)
        for each, handler in self.handlers.items():
            signal.signal(each, handler)
        interrupts[:] = self.interrupts


@pytest.fixture(autouse=True)
def _as_it_was_found() -> Iterator[None]:
    before = Shared.now()
    # Objects that outlive a test are frozen, so the next collection takes microseconds, not a tenth of a second.
    gc.collect()
    gc.freeze()
    yield
    gc.collect()  # unclosed objects warn here, not in a later test in which they happen to be collected
    end_what_was_started()
    if changes := before.changes(found := Shared.now()):
        before.restore(found)
        pytest.fail(f"changed and not put back: {'; '.join(changes)}", pytrace=False)
