"""Environments in which a command's run ends or pauses at a planned moment (see planned/sitecustomize.py)."""

import os
from collections.abc import Mapping
from pathlib import Path

FOREVER = "1000000"
"""Epochs of a run that ends by a plan, a signal or a kill, never by itself."""
_PLANNED = Path(__file__).parent / "planned"


def ending(environment: Mapping[str, str], file: Path) -> dict[str, str]:
    """Return an environment in which a run ends with the epoch during which the file appears."""
    return _on_its_path(environment) | {"DISTBP_TEST_END": str(file)}


def held(environment: Mapping[str, str], file: Path) -> dict[str, str]:
    """Return an environment in which the first run writes the file in the middle of an epoch and pauses there."""
    return _on_its_path(environment) | {"DISTBP_TEST_HOLD": str(file)}


def _on_its_path(environment: Mapping[str, str]) -> dict[str, str]:
    others = environment.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": os.pathsep.join([str(_PLANNED), *filter(None, [others])])}
