"""Run a command that only returns a code; send two signals while Python exits. Arguments: signal number, code.

The last atexit function but one sends the first signal, an object that is finalised after it the second.
"""

import atexit
import os
import sys
from collections.abc import Callable, Sequence

import distbp.cli
from distbp.__main__ import main


class Late:
    """Sends a signal when it is finalised."""

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
