"""``distbp`` and ``python -m distbp``."""

from __future__ import annotations

import atexit
import os
import sys
import time
from contextlib import suppress

STARTED = time.perf_counter()

_BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def main() -> None:
    """Run the command line and leave with its exit code."""
    from distbp.system.signals import end_at_once_on_signals, interrupt_on_signals

    # The last of all to run at the end: what Python then takes down of itself (modules, threads of libraries) takes
    # time, in which a signal would end the process as if it had failed, and is of no use to anybody.
    code = 1  # of an error that is none of the user's
    atexit.register(lambda: _leave(code))
    interrupt_on_signals()
    try:
        open_closed_streams()
        # NumPy is not loaded yet, so its BLAS makes no threads that nothing here uses (see distbp.system.blas). Code
        # that computes shards, in this process or in an actor, asks for --threads itself.
        os.environ.update(dict.fromkeys(_BLAS, "1"))
        from distbp.cli import run

        code = run(sys.argv[1:], STARTED)
    except KeyboardInterrupt:  # before the commands were there to handle it, or once more while they ended
        with suppress(OSError):
            os.write(2, b"interrupted\n")
        code = 130
    end_at_once_on_signals(code)
    if code:
        # Something was broken off. Threads of a library may still be on their way to Python, whose end would then
        # abort the process (pyarrow), or would have Ray ask a head that is gone, for minutes.
        _leave(code)
    sys.exit(0)


def _leave(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def open_closed_streams() -> None:
    """Open on /dev/null those of stdin, stdout and stderr that came closed: Ray and others take them to be there."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)  # a file that Python itself keeps open may have come to be there
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
        setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115, PTH123


if __name__ == "__main__":
    main()
