"""The commands of one commit, run by that commit's own code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

GUARD = Path(__file__).resolve().parent / "guard"
_SECONDS_TO_END = 60.0
"""For a command that is interrupted: it stops its Ray."""


class CommandError(Exception):
    """A command failed, or ran other code than its commit's."""


class Commit:
    """A commit that is checked out in a folder, and the runs that its code has made."""

    def __init__(self, name: str, tree: Path, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self._package = str(tree / "distbp" / "__init__.py")
        self._imports = folder / "imports"
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tree), str(GUARD)]),  # goes before the installed package
            "SAME_BITS_IMPORTS": str(self._imports),
            "XDG_CACHE_HOME": str(folder / "cache"),  # each commit reads the tables itself
        }

    def run(self, *arguments: str | Path, processes: int = 1) -> bytes:
        """Run ``distbp`` with these arguments; return what it prints.

        Raises:
            CommandError: it failed, or not at least so many processes imported this commit's package.
        """
        process = self._start(*arguments)
        try:
            out, err = process.communicate()
        except BaseException:
            _interrupt(process)
            raise
        if process.returncode:
            raise CommandError(f"{self._title(arguments)}: exit code {process.returncode}, {_last_line(err)}")
        self._check_imports(arguments, processes)
        return out

    def interrupt_after_an_epoch(self, *arguments: str | Path) -> None:
        """Run ``distbp`` until it prints the first epoch's record, and interrupt it.

        Raises:
            CommandError: it ended by itself.
        """
        process = self._start(*arguments, "--json")
        try:
            assert process.stdout is not None
            process.stdout.readline()
        finally:
            err = _interrupt(process)
        if process.returncode in (0, 1, 2):
            raise CommandError(f"{self._title(arguments)}: not interrupted, {_last_line(err)}")
        self._check_imports(arguments, 1)

    def _start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        self._imports.unlink(missing_ok=True)
        return subprocess.Popen(
            (sys.executable, "-m", "distbp", *arguments),
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,  # a Ctrl-C of the terminal reaches this script alone, which then interrupts the command
        )

    def _check_imports(self, arguments: tuple[str | Path, ...], processes: int) -> None:
        imports = self._imports.read_text().splitlines() if self._imports.exists() else []
        for package in imports:
            if package != self._package:
                raise CommandError(f"{self._title(arguments)}: a process imported {package}, not {self._package}")
        if len(imports) < processes:
            raise CommandError(
                f"{self._title(arguments)}: {len(imports)} processes imported distbp, expected at least {processes}"
            )

    def _title(self, arguments: tuple[str | Path, ...]) -> str:
        return f"{self.name}: distbp {' '.join(map(str, arguments[:2]))}"


def _interrupt(process: subprocess.Popen[bytes]) -> bytes:
    """Interrupt a command and wait for its end; return what it has written to stderr."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.communicate(timeout=_SECONDS_TO_END)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[1]


def _last_line(err: bytes) -> str:
    lines = err.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing on stderr"
