"""What an exchange knows of its processes: which one has ended, and how long each has been silent."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distbp.parallel.host.shared_memory import Shape, SharedMemory


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[SharedMemory]:
    yield SharedMemory(tmp_path, Shape(1, 10, "float32", 3, 1, 2, 1), create=True)


def test_a_process_has_ended_if_it_never_was_there_or_is_gone(exchange: SharedMemory) -> None:
    assert exchange.has_ended(0) is True  # it never was there

    exchange.processes[0] = os.getpid()
    assert exchange.has_ended(0) is False

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    exchange.processes[0] = ended.pid
    assert exchange.has_ended(0) is True

    assert exchange.has_ended(1) is True  # the others' entries are their own


def test_ending_a_process_that_never_was_there_ends_nothing(
    exchange: SharedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "kill", lambda process, signal: ended.append(process))
    exchange.end_process(0)  # 0 would be this process and its group
    assert ended == []
    exchange.processes[0] = 12345
    exchange.end_process(0)
    assert ended == [12345]


def test_silence_is_counted_from_the_last_sign_of_life(exchange: SharedMemory) -> None:
    exchange.beats[1] = time.monotonic() - 1000
    assert 1000 <= exchange.silence(1) < 2000
