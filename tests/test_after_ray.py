"""What a test leaves is found on that test, and is gone before the next one."""

import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import after_ray
import psutil
import pytest


@pytest.mark.parametrize("has_failed", [False, True])
def test_a_leftover_process_or_folder_fails_its_test_and_is_removed(monkeypatch, has_failed):
    monkeypatch.setattr(after_ray, "SECONDS", 0.0)
    item = SimpleNamespace(stash={after_ray.FAILED: has_failed})
    check = after_ray.checked(item, shares_a_ray=True)
    next(check)
    with tempfile.TemporaryDirectory(prefix="distbp-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "owner").touch()
        process = subprocess.Popen(["sh", "-c", "echo up; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"up\n"
        if has_failed:  # which is told already
            next(check, None)
        else:
            with pytest.raises(AssertionError, match=rf"process {process.pid}: sh -c echo up; read line.*{folder}"):
                next(check)
        assert not psutil.pid_exists(process.pid)
        assert not Path(folder).exists()
    process.communicate()


def test_a_test_that_leaves_nothing_passes():
    check = after_ray.checked(SimpleNamespace(stash={}), shares_a_ray=False)
    next(check)
    with subprocess.Popen(["sleep", "0"]):
        pass
    assert next(check, "the end") == "the end"
