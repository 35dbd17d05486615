"""A copy of the checkout for faults and tests: the checkout itself never changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

PYTEST = ("-p", "traced_tests", "-p", "no:randomly", "-q", "-rfE", "-m", "not ray and not alone")
"""Arguments of every run."""


class Copy:
    """The copy: its folder and the names of its files."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.folder = folder
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        names = subprocess.run(listed, cwd=checkout, capture_output=True, text=True, check=True).stdout.split("\0")
        self.files = [name for name in names if (checkout / name).is_file()]
        for name in self.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, folder / name)
        data = checkout.parent / "shared" / "data"  # the tests' default folder of real data, beside the checkout
        self._environment = {"DISTBP_TEST_DATA": str(data)} if data.is_dir() else {}
        self._environment |= os.environ
        self._environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(Path(__file__).parent)])
        self._writes = 0

    def read(self, name: str) -> str:
        """Return the text of a file."""
        return (self.folder / name).read_text(encoding="utf-8")

    @contextmanager
    def changed(self, name: str, text: str) -> Iterator[None]:
        """Replace a file's text within the block."""
        before = self.read(name)
        self._write(name, text)
        try:
            yield
        finally:
            self._write(name, before)

    def _write(self, name: str, text: str) -> None:
        # Python reuses compiled code if the source's size and mtime in seconds match, which may be so for two faults
        self._writes += 1
        (self.folder / name).write_text(text, encoding="utf-8")
        os.utime(self.folder / name, (self._writes, self._writes))

    def run(self, arguments: Sequence[str], extra: Mapping[str, str]) -> tuple[int, str]:
        """Run Python in the copy; return its exit code and output."""
        done = subprocess.run(
            (sys.executable, *arguments),
            cwd=self.folder,
            env={**self._environment, **extra},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        return done.returncode, done.stdout

    def pytest(self, arguments: Sequence[str], tests: Sequence[str], seconds: float) -> tuple[int, str]:
        """Run these tests of the copy, in this order; return pytest's exit code, or TIMED_OUT, and its output."""
        with tempfile.TemporaryDirectory(prefix="mutants-") as made:
            chosen, says = Path(made) / "tests", Path(made) / "says"
            chosen.write_text("\n".join(tests))
            job = {"folder": str(self.folder), "arguments": arguments, "chosen": str(chosen), "says": str(says)}
            assert self._forks.stdin is not None and self._forks.stdout is not None
            self._forks.stdin.write(json.dumps({**job, "seconds": seconds}) + "\n")
            self._forks.stdin.flush()
            code = int(self._forks.stdout.readline())
            return code, says.read_text(errors="replace") if says.exists() else ""

    @cached_property
    def _forks(self) -> subprocess.Popen[str]:
        """The process that forks to run tests; it ends when this process closes the pipe."""
        command = (sys.executable, str(Path(__file__).parent / "forked.py"))
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
