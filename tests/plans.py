"""Runs of a command that end or wait at a planned moment, however quick the machine: see planned/sitecustomize.py."""

import os
from collections.abc import Mapping
from pathlib import Path

FOREVER = "1000000"
"""Epochs of a run that ends by a plan, a signal or a kill, never by itself."""
_PLANNED = Path(__file__).parent / "planned"


def ending(environment: Mapping[str, str], file: Path) -> dict[str, str]:
    """Return the environment of a command whose run ends with the epoch in which the file comes to be there."""
    return _on_its_path(environment) | {"DISTBP_TEST_END": str(file)}


def held(environment: Mapping[str, str], file: Path) -> dict[str, str]:
    """Return the environment of a command whose first run writes the file in an epoch's middle and stays there."""
    return _on_its_path(environment) | {"DISTBP_TEST_HOLD": str(file)}


def _on_its_path(environment: Mapping[str, str]) -> dict[str, str]:
    others = environment.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": os.pathsep.join([str(_PLANNED), *filter(None, [others])])}
