"""Processes of a host: which one has ended, and how long each has been silent."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distbp.parallel.host.processes import Processes
from distbp.parallel.host.shared_memory import Shape, SharedMemory


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return SharedMemory(tmp_path, Shape(1, 10, "float32", 3, 1, 2, 1), create=True).processes


def test_a_process_that_never_started_counts_as_ended(processes: Processes) -> None:
    assert processes.has_ended(0) is True  # it has never started

    processes.ids[0] = os.getpid()
    assert processes.has_ended(0) is False

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    processes.ids[0] = ended.pid
    assert processes.has_ended(0) is True

    assert processes.has_ended(1) is True  # the entries of the others are unchanged


def test_killing_a_process_that_never_started_does_nothing(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "kill", lambda process, signal: ended.append(process))
    processes.kill(0)  # kill(0) would signal the process group of the test
    assert ended == []
    processes.ids[0] = 12345
    processes.kill(0)
    assert ended == [12345]


def test_silence_is_measured_from_the_last_sign_of_life(processes: Processes) -> None:
    processes.heartbeats[1] = time.monotonic() - 1000
    assert 1000 <= processes.silence(1) < 2000
