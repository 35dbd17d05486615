"""Whether a process with a given id exists, as locks, partial files and workers need to know."""

import os
import subprocess
import sys

import pytest

from distbp.system.signals import process_exists


def test_a_process_exists_from_its_start_until_it_is_reaped():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_exists(process.pid)
    process.communicate(b"\n")
    assert not process_exists(process.pid)
    assert process_exists(os.getpid())


@pytest.mark.parametrize("number", [0, -1, pytest.param(-os.getpid(), id="minus its own"), 2**31, 2**64])
def test_an_impossible_id_belongs_to_no_process(number):
    assert not process_exists(number)


def test_a_process_of_another_user_exists(monkeypatch):
    def refuse(process, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert process_exists(12345)
