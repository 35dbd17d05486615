"""What a test leaves behind fails that test and no other."""

import os
import re
import subprocess
import sys
from pathlib import Path

from processes import HANG_SECONDS


def test_each_that_leaves_something_is_named_and_the_next_one_finds_nothing(tmp_path: Path) -> None:
    tests = Path(__file__).parent
    options = ["-q", "-rE", "-c", os.devnull, "--rootdir", tests, "-W", "error", "-o", "python_files=*.py"]
    plugins = ["-p", "leftovers", "-p", "no:randomly", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *plugins, tests / "programs" / "tests_that_leave_things.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), *sys.path])},
    )
    named = re.findall(r"^ERROR .*::test_(\w+)", done.stdout, re.MULTILINE)
    assert named == ["file", "environment", "folder", "handler", "interrupt"], done.stdout
    assert "7 passed, 5 errors" in done.stdout
