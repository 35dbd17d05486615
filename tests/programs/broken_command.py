"""Run a command that fails by a programming error, not by the user's."""

from collections.abc import Sequence

import distbp.cli
from distbp.__main__ import main


def breaks(arguments: Sequence[str], started: float) -> int:
    return 1 // 0


if __name__ == "__main__":
    distbp.cli.run = breaks
    main()
