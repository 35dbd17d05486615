"""Record from where each Python process takes distbp; Python imports this module first, as it is on PYTHONPATH."""

import os
import sys
from importlib.machinery import PathFinder


class Recorder:
    """An import hook that leaves the import of distbp as it is and appends its file to the record."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Record where the package is found; return None, so that the next finder imports it."""
        if name == "distbp":
            spec = PathFinder.find_spec(name, path)
            with open(os.environ["SAME_BITS_IMPORTS"], "a") as record:  # noqa: PTH123 - every process starts with this
                record.write(f"{spec.origin if spec else None}\n")


sys.meta_path.insert(0, Recorder)
