"""``distbp`` and ``python -m distbp``."""

from __future__ import annotations

import sys
import time

STARTED = time.perf_counter()


def main() -> None:
    """Run the command line and leave with its exit code."""
    from distbp.cli import run

    sys.exit(run(sys.argv[1:], STARTED))


if __name__ == "__main__":
    main()
