"""What the bits of a matrix product depend on besides its operands: BLAS, its kernel for this CPU, its threads."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info


def cpu_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fingerprint() -> dict[str, Any]:
    """Return what must be equal for two processes to compute the same bits."""
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    # Others, such as SciPy's, may be loaded beside the one that NumPy's wheels bring along.
    brought = str(Path(np.__file__).parent)
    blas = [library for library in libraries if library["filepath"].startswith(brought)] or libraries
    return {
        "numpy": np.__version__,
        "blas": sorted({f"{library['internal_api']} {library['version']}" for library in blas}),
        "kernel": sorted({str(library.get("architecture")) for library in blas}),
        "machine": platform.machine(),
    }
