"""An epoch's record and the settings as flat mappings of names to plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from distbp.config import Config


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of an epoch's record; a layer's numbers are named like ``layer1/gradient_norm``.

    >>> scalars({"epoch": 1, "lr": 0.1, "test_cost": None, "layers": [{"dead": 0.5}]})
    {'lr': 0.1, 'layer1/dead': 0.5}
    """
    return dict(_scalars(metrics))


def _scalars(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if name == "layers":
            for l, layer in enumerate(value, start=1):
                yield from ((f"layer{l}/{key}", float(number)) for key, number in layer.items() if number is not None)
        elif isinstance(value, int | float) and name not in ("epoch", "steps"):
            yield name, float(value)


def hyper_parameters(config: Config) -> dict[str, bool | int | float | str]:
    """Return the settings that have a value; a list becomes text.

    >>> settings = hyper_parameters(Config(hidden=(8, 4)))
    >>> settings["hidden"], settings["lr"]
    ('8,4', 0.001)
    """
    return {name: _plain(value) for name, value in config.to_json().items() if value is not None}


def _plain(value: Any) -> bool | int | float | str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, bool | int | float | str) else str(value)
