"""Prepare a table, saving the state after every block; be killed at a planned moment.

Arguments: moment (see signalled.py), table, output folder.
"""

import signal
import sys
from pathlib import Path

from signalled import Moment

from distbp.data import prepare
from distbp.data.formats import text
from distbp.data.prepared import writer

if __name__ == "__main__":
    text._BLOCK, writer._SECONDS_BETWEEN_STATES = 1 << 19, 0.0
    Moment(signal.SIGKILL, sys.argv[1]).watch()
    prepare(Path(sys.argv[2]), out=Path(sys.argv[3]), note=print)
