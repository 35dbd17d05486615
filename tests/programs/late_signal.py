"""Run a command that only returns a code; two signals come while Python ends. Arguments: the signal's number, the code.

One is sent by what runs last but one at Python's end, the other by what is taken down after it.
"""

import atexit
import os
import sys
from collections.abc import Callable, Sequence

import distbp.cli
from distbp.__main__ import main


class Late:
    """Sends a signal when it is taken down."""

    def __del__(
        self, kill: Callable[[int, int], None] = os.kill, me: int = os.getpid(), number: int = int(sys.argv[1])
    ) -> None:
        kill(me, number)


def returns_only(arguments: Sequence[str], started: float) -> int:
    atexit.register(os.kill, os.getpid(), int(sys.argv[1]))
    return int(sys.argv[2])


if __name__ == "__main__":
    kept = Late()
    distbp.cli.run = returns_only
    main()
