"""What an epoch's record and the settings are as flat names and plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from distbp.config import Config


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of an epoch's record; those of a layer as ``layer1/gradient_norm``.

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
    """Return the settings that have a value, lists as text.

    >>> found = hyper_parameters(Config(hidden=(8, 4)))
    >>> found["hidden"], found["lr"]
    ('8,4', 0.001)
    """
    plain = {name: value for name, value in config.to_json().items() if value is not None}
    return {
        name: ",".join(map(str, value)) if isinstance(value, list) else value if _is_plain(value) else str(value)
        for name, value in plain.items()
    }


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float | str)
