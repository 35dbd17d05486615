"""Entry point of ``distbp`` and ``python -m distbp``."""

from __future__ import annotations

import atexit
import os
import sys
import time
from contextlib import suppress

STARTED = time.perf_counter()

_BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def main() -> None:
    """Run the command line and exit with its code."""
    from distbp.system.signals import end_at_once_on_signals, interrupt_on_signals

    # Registered first, so it runs last: it skips Python's own teardown of modules and threads, which takes time during
    # which a signal would turn success into failure.
    code = 1  # for an exception that is a bug
    atexit.register(lambda: _exit(code))
    interrupt_on_signals()
    try:
        open_closed_streams()
        # NumPy is not loaded yet, so its BLAS starts no unused threads (see distbp.system.blas). Code that computes
        # shards, in this process or in an actor, sets --threads itself.
        os.environ.update(dict.fromkeys(_BLAS, "1"))
        from distbp.cli import run

        code = run(sys.argv[1:], STARTED)
    except KeyboardInterrupt:  # before the command handled interrupts, or during its cleanup
        with suppress(OSError):
            os.write(2, b"interrupted\n")
        code = 130
    end_at_once_on_signals(code)
    if code:
        # After a failure, a normal exit could abort the process (a thread of pyarrow that is about to enter Python) or
        # hang for minutes (Ray waiting for a dead head).
        _exit(code)
    sys.exit(0)


def _exit(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def open_closed_streams() -> None:
    """Open each of stdin, stdout and stderr that is closed on /dev/null: Ray and other libraries expect all three."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)  # Python itself may have opened another file under this number
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
        setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115, PTH123


if __name__ == "__main__":
    main()
