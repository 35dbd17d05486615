"""The command that does a run again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from distbp.config import CHOICES, Config, words_of
from distbp.data.sources import BUILT_IN
from distbp.errors import DistbpError
from distbp.runs.saved import config_of

_FOLLOWS = (
    "validation_fraction", "shards", "weight_decay", "momentum", "lr", "initial", "output", "cost",
)  # fmt: skip
"""What has a default that follows from other settings, and so need not be said where it is that."""
_CHOSEN = ("activation", "output", "cost", "optimizer", "schedule")


def repeat_command(settings: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the command, from what config.json holds, and what there is to say of it; None where there is no command.

    >>> repeat_command({"data": ["digits"], "hidden": [64, 32], "lr": 0.01, "drop": ["a b"], "task": "classification"})
    ("distbp train digits --hidden 64,32 --lr 0.01 --drop 'a b'", '')
    """
    data = settings.get("data")
    if not isinstance(data, list) or not data or not all(isinstance(each, str) for each in data):
        return None, "config.json does not say where the data are."
    if "arrays" in data:
        return None, "The data were arrays of the Python program that made this run: the program is what repeats it."
    own = [str(name) for name in _chosen_names(settings) if name not in _known_names()]
    if own:
        return None, f"It was made in Python with parts of its own: {', '.join(own)}."
    try:
        config = config_of(settings)
        words = ["distbp", "train", *data, *_options(config, is_built_in=data[0] in BUILT_IN)]
    except (DistbpError, TypeError, ValueError, AttributeError) as error:
        return None, f"Its settings are not those of this version: {error}"
    note = "" if data[0] in BUILT_IN else "The data must be where they were."
    return shlex.join(words), note


def _chosen_names(settings: Mapping[str, Any]) -> list[Any]:
    chosen: list[Any] = []
    for name in _CHOSEN:
        value = settings.get(name)
        chosen += value if isinstance(value, list) else [value]
    return [each for each in chosen if each is not None]


def _known_names() -> set[str]:
    return {name for setting in _CHOSEN for name in CHOICES[setting]}


def _options(config: Config, is_built_in: bool) -> list[str]:
    """Return the options for what is not as it would be without them."""
    config = _with_task(config, config.task)
    said = {field.name: getattr(config, field.name) for field in fields(config)}
    said = {field.name: said[field.name] for field in fields(config) if said[field.name] != field.default}
    task = said.get("task")
    if is_built_in:
        said.pop("task", None)
    for name in _FOLLOWS:
        others = {key: value for key, value in said.items() if key != name}
        if name in said and _with_task(Config.from_settings(others), task) == config:
            del said[name]
    return [word for name, value in said.items() for word in words_of(name, value)]


def _with_task(config: Config, task: str | None) -> Config:
    return config.for_task(task) if task is not None else config
