"""Run pytest in forks of a process that has imported all that the tests need, except for distbp and the tests.

A fork takes a tenth of the time in which a new process imports NumPy, pytest and Hypothesis.

It reads one JSON object per line: ``folder``, ``arguments`` of pytest, ``chosen`` (see traced_tests.py), the file
``says`` for pytest's output, and a limit in ``seconds``. It writes one line for each: the exit code, or -1 on timeout.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

TIMED_OUT = -1
_LOADED = (
    "click",
    "hypothesis.extra.numpy",
    "hypothesis.strategies",
    "numpy",
    "onnx",
    "pandas",
    "pyarrow.parquet",
    "rich.console",
    "rich.table",
    "safetensors.numpy",
    "sklearn.linear_model",
    "threadpoolctl",
    "xdist.plugin",
)
_LOOK_SECONDS = 0.01


def serve() -> None:
    """Run the tests of every line of stdin."""
    import importlib

    import pytest

    for name in _LOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        process = os.fork()
        if not process:
            _run(job, pytest)
        print(_ended(process, job["seconds"]), flush=True)


def _run(job: dict[str, Any], pytest: Any) -> None:
    """Run pytest and end this process with its exit code."""
    code = 3  # pytest's own error
    try:
        os.setsid()
        os.chdir(job["folder"])
        says = os.open(job["says"], os.O_WRONLY | os.O_CREAT)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, there in enumerate((nothing, says, says)):
            os.dup2(there, number)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        os.environ["MUTANTS_CHOSEN"] = job["chosen"]
        sys.path.insert(0, job["folder"])  # as python -m pytest does
        code = int(pytest.main(job["arguments"]))
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _ended(process: int, seconds: float) -> int:
    """Wait for a fork; end it and its children after this many seconds."""
    deadline = time.monotonic() + seconds
    code = TIMED_OUT
    while time.monotonic() < deadline:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(_LOOK_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
    if code == TIMED_OUT:
        os.waitpid(process, 0)
    return code


if __name__ == "__main__":
    serve()
