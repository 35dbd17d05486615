"""``distbp`` and ``python -m distbp``."""

from __future__ import annotations

import sys
import time

STARTED = time.perf_counter()


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from distbp.cli import run

        sys.exit(run(sys.argv[1:], STARTED))
    except KeyboardInterrupt:  # before the commands were there to handle it, or once more while they ended
        sys.exit(130)


if __name__ == "__main__":
    main()
