"""Tests for pytest, in this order; each but the last ones leaves something behind (see tests/leftovers.py)."""

import os
import signal
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from processes import start_program  # type: ignore[import-not-found, unused-ignore]

from distbp.system.signals import interrupts

PLACE = os.getcwd()  # noqa: PTH109
started: list[int] = []


class Cycle:
    """Refers to itself and to another object, so that only the garbage collector frees both."""

    def __init__(self, held: Any) -> None:
        self.itself, self.held = self, held


def test_file(tmp_path: Path) -> None:
    Cycle((tmp_path / "left").open("w"))


def test_environment() -> None:
    os.environ["LEFT"] = "1"


def test_folder(tmp_path: Path) -> None:
    os.chdir(tmp_path)


def test_handler() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_interrupt() -> None:
    interrupts.append(signal.SIGINT)


def test_process() -> None:
    started.append(start_program("breaks_lock", "none").pid)


def test_innocent() -> None:
    assert "LEFT" not in os.environ
    assert os.getcwd() == PLACE  # noqa: PTH109
    assert signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    assert not interrupts
    assert not any(map(psutil.pid_exists, started))
