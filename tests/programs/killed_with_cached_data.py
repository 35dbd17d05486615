"""Read a large table into the cache and be killed while it is in use. Argument: the table."""

import os
import signal
import sys

import distbp
from distbp.data import sizes

if __name__ == "__main__":
    sizes._LARGE_BYTES = 1 << 20
    data = distbp.load(sys.argv[1])
    os.kill(os.getpid(), signal.SIGKILL)
