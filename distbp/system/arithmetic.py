"""What determines the bits of a matrix product besides its operands: BLAS, its kernel for this CPU, its threads."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info


def fingerprint() -> dict[str, Any]:
    """Return the properties that two processes must share to compute the same bits."""
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    # Other libraries, such as SciPy's, may be loaded next to the one bundled with NumPy's wheels.
    numpy_folder = str(Path(np.__file__).parent)
    blas = [library for library in libraries if library["filepath"].startswith(numpy_folder)] or libraries
    return {
        "numpy": np.__version__,
        "blas": sorted({f"{library['internal_api']} {library['version']}" for library in blas}),
        "kernel": sorted({str(library.get("architecture")) for library in blas}),
        "machine": platform.machine(),
    }
