"""Whether a process exists, which locks, partial files and workers depend on."""

import os
import subprocess
import sys

import pytest

from distbp.system.processes import process_exists


def test_a_process_exists_from_its_start_until_it_is_waited_for():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_exists(process.pid)
    process.communicate(b"\n")
    assert not process_exists(process.pid)
    assert process_exists(os.getpid())


@pytest.mark.parametrize("number", [0, -1, pytest.param(-os.getpid(), id="minus its own"), 2**31, 2**64])
def test_no_process_exists_with_an_impossible_id(number):
    assert not process_exists(number)


def test_another_users_process_exists(monkeypatch):
    def refuse(process, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert process_exists(12345)
