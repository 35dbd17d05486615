"""The record of which test runs which line, made with coverage and updated for test files that have changed.

A line is identified by its function and its text, not by its number: a change elsewhere in the file costs nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from copied import PYTEST, Copy
from operators import functions_of

_SETTINGS = """\
[run]
source_pkgs = distbp
patch = subprocess, _exit
parallel = true
data_file = {}/lines
"""


class Recorded:
    """The tests of every line, with the seconds that each test took."""

    def __init__(self, file: Path) -> None:
        self._file = file
        kept = json.loads(gzip.decompress(file.read_bytes())) if file.exists() else {}
        self.seconds: dict[str, float] = kept.get("seconds", {})
        self._files: dict[str, str] = kept.get("files", {})  # test files and the hashes of their texts
        self._lines: dict[str, int] = kept.get("lines", {})  # every line of the sources, run or not, and its number
        self._of_test: dict[str, list[int]] = kept.get("of_test", {})
        self._tests_of: dict[int, set[str]] = {}
        self._tests_in: dict[str, set[str]] = {}  # of a function, and of a file

    def bring_up_to_date(self, copy: Copy) -> None:
        """Run the test files that are new or have changed, folder by folder, and record the lines that they run."""
        now = {name: _hash(copy.read(name)) for name in copy.files if _has_tests(name, copy)}
        for name in self._files.keys() - now.keys():
            self._forget(name)
        # one folder after another, so that an interruption loses only one folder's record
        folders: dict[str, list[str]] = defaultdict(list)
        for name in sorted(now):
            if now[name] != self._files.get(name):
                folders[str(Path(name).parent) if name.startswith("tests/") else "distbp"].append(name)
        for folder, names in folders.items():
            print(f"recording what the tests of {folder} run ({len(names)} files)", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="mutants-") as made:
                self._run(copy, names, Path(made))
                for name in names:
                    self._forget(name)
                self.take_in(copy, Path(made), Path(made) / "seconds")
            self._files |= {name: now[name] for name in names}
            self.keep()

    def _run(self, copy: Copy, names: Sequence[str], made: Path) -> None:
        (made / "settings").write_text(_SETTINGS.format(made))
        coverage = ("-m", "coverage", "run", f"--rcfile={made / 'settings'}")
        command = (*coverage, "-m", "pytest", *PYTEST, *names)
        code, output = copy.run(command, {"MUTANTS_TRACED": str(made / "seconds")})
        if code not in (0, 1, 5):  # 1: a test failed and is left out; 5: all tests start Ray
            raise SystemExit(f"the tests cannot be recorded:\n{output[-3000:]}")

    def take_in(self, copy: Copy, made: Path, seconds: Path) -> None:
        """Read the files of coverage and the plugin for the tests that passed."""
        from coverage import CoverageData
        from coverage.exceptions import CoverageException

        passed: dict[str, float] = json.loads(seconds.read_text())
        self.seconds |= passed
        ran: dict[str, set[int]] = defaultdict(set)
        keys = {name: self._keys(name, copy.read(name)) for name in copy.files if _is_source(name)}
        for path in made.glob("lines.*"):
            data = CoverageData(basename=str(path))
            try:
                data.read()
            except CoverageException:  # from a process that a test killed
                continue
            for file in data.measured_files():
                numbers = keys[str(Path(file).relative_to(copy.folder))]
                for line, tests in data.contexts_by_lineno(file).items():
                    for test in tests:
                        if test in passed and line in numbers:
                            ran[test].add(numbers[line])
        self._of_test |= {test: sorted(numbers) for test, numbers in ran.items()}
        self._tests_of, self._tests_in = {}, {}

    def _keys(self, file: str, text: str) -> dict[int, int]:
        """Return the numbers of a source file's lines, of those inside of functions."""
        lines = text.splitlines()
        keys = {number: _key(file, name, lines[number - 1]) for number, name in functions_of(text).items()}
        return {number: self._lines.setdefault(key, len(self._lines)) for number, key in keys.items()}

    def _forget(self, name: str) -> None:
        self._files.pop(name, None)
        for test in [test for test in self.seconds if test.startswith(name + "::")]:
            del self.seconds[test]
            self._of_test.pop(test, None)

    def keep(self) -> None:
        """Write the recording for the next time."""
        kept = {"seconds": self.seconds, "files": self._files, "lines": self._lines, "of_test": self._of_test}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_bytes(gzip.compress(json.dumps(kept).encode(), 3))

    def tests_of(self, file: str, text: str, first: int, last: int) -> list[str]:
        """Return the tests that run one of these lines, the quickest first.

        A line that runs at import belongs to all tests that run a function of the file; a line that is newer than the
        record belongs to the tests of its function.
        """
        tests_of, tests_in = self._index()
        functions, lines = functions_of(text), text.splitlines()
        tests: set[str] = set()
        for number in range(first, last + 1):
            if number not in functions:
                tests |= tests_in.get(file, set())
                continue
            key = _key(file, functions[number], lines[number - 1])
            if key in self._lines:
                tests |= tests_of.get(self._lines[key], set())
            else:
                tests |= tests_in.get(f"{file}::{functions[number]}", set())
        return sorted(tests, key=lambda test: self.seconds[test])

    def _index(self) -> tuple[Mapping[int, set[str]], Mapping[str, set[str]]]:
        if not self._tests_of:
            tests_of, tests_in = defaultdict(set), defaultdict(set)
            names = {number: key.split("::")[:2] for key, number in self._lines.items()}
            for test, numbers in self._of_test.items():
                for number in numbers:
                    tests_of[number].add(test)
                    tests_in[names[number][0]].add(test)
                    tests_in["::".join(names[number])].add(test)
            self._tests_of, self._tests_in = dict(tests_of), dict(tests_in)
        return self._tests_of, self._tests_in


def _is_source(name: str) -> bool:
    return name.startswith("distbp/") and name.endswith(".py")


def _has_tests(name: str, copy: Copy) -> bool:
    if _is_source(name):
        return ">>> " in copy.read(name)
    return name.startswith("tests/") and Path(name).name.startswith("test_") and name.endswith(".py")


def _key(file: str, function: str, line: str) -> str:
    return f"{file}::{function}::{line.strip()}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
