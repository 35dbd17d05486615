"""The command that repeats a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from distbp.config import CHOICES, Config, words_of
from distbp.data.sources import BUILT_IN
from distbp.errors import DistbpError
from distbp.runs.saved import config_of

_DERIVED = ("validation_fraction", "shards", "weight_decay", "momentum", "lr", "initial", "output", "cost")
"""Settings whose defaults depend on other settings."""
_NAMED_PARTS = ("activation", "output", "cost", "optimizer", "schedule")


def repeat_command(settings: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the command for the content of config.json, and a note about it; the command is None if there is none.

    >>> repeat_command({"data": ["digits"], "hidden": [64, 32], "lr": 0.01, "drop": ["a b"], "task": "classification"})
    ("distbp train digits --hidden 64,32 --lr 0.01 --drop 'a b'", '')
    """
    data = settings.get("data")
    if not isinstance(data, list) or not data or not all(isinstance(each, str) for each in data):
        return None, "config.json does not contain the paths of the data."
    if "arrays" in data:
        return None, "The data were arrays of a Python program: run the program again to repeat the run."
    own = [str(name) for name in _used_names(settings) if name not in _known_names()]
    if own:
        return None, f"The run used parts that its Python program defined: {', '.join(own)}."
    try:
        config = config_of(settings)
        words = ["distbp", "train", *data, *_options(config, is_built_in=data[0] in BUILT_IN)]
    except (DistbpError, TypeError, ValueError, AttributeError) as error:
        return None, f"This version cannot use the run's settings: {error}"
    note = "" if data[0] in BUILT_IN else "The data must be at the same paths."
    return shlex.join(words), note


def _used_names(settings: Mapping[str, Any]) -> list[Any]:
    chosen: list[Any] = []
    for name in _NAMED_PARTS:
        value = settings.get(name)
        chosen += value if isinstance(value, list) else [value]
    return [each for each in chosen if each is not None]


def _known_names() -> set[str]:
    return {name for setting in _NAMED_PARTS for name in CHOICES[setting]}


def _options(config: Config, is_built_in: bool) -> list[str]:
    """Return the options that differ from their defaults."""
    config = _with_task(config, config.task)
    explicit = {field.name: getattr(config, field.name) for field in fields(config)}
    explicit = {field.name: explicit[field.name] for field in fields(config) if explicit[field.name] != field.default}
    task = explicit.get("task")
    if is_built_in:
        explicit.pop("task", None)
    for name in _DERIVED:
        others = {key: value for key, value in explicit.items() if key != name}
        if name in explicit and _with_task(Config.from_settings(others), task) == config:
            del explicit[name]
    return [word for name, value in explicit.items() for word in words_of(name, value)]


def _with_task(config: Config, task: str | None) -> Config:
    return config.for_task(task) if task is not None else config
