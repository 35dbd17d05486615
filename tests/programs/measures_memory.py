"""Evaluate an expression with ``load`` and ``prepare``; print its value and by how many MB memory grew."""

import resource
import sys

import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

import distbp.data.formats.typed
from distbp.data import formats, load, prepare
from distbp.errors import DistbpError


def most() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    names = {"distbp": distbp, "formats": formats, "load": load, "prepare": prepare, "pyarrow": pyarrow}
    before = most()
    try:
        print(eval(sys.argv[1], names))
    except DistbpError as error:
        print(type(error).__name__, error)
    print((most() - before) >> 10)
