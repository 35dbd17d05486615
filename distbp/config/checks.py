"""Checks of single settings; what depends on several is checked where they are."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from distbp.errors import UsageError, brief

_MOST_SECONDS = 1_000_000
_MOST_DROPOUT = 0.99
_MOST_WHOLE = 1_000_000_000
_LAST_PORT = 65535


def check_numbers(settings: Mapping[str, Any]) -> None:
    """Refuse numbers that are none, or out of range."""
    _check_whole_numbers(settings)
    _check_sizes(settings)
    for name in ("momentum", "weight_decay", "label_smoothing", "validation_fraction"):
        value = settings[name]
        if value is not None and not (_is_number(value) and 0 <= value < 1):
            raise UsageError(f"{name} must be at least 0 and below 1, found {brief(value)}")
    for name in ("l1", "l2"):
        if not (_is_number(settings[name]) and settings[name] >= 0):
            raise UsageError(f"{name} must be a finite number of at least 0, found {brief(settings[name])}")
    if not (_is_number(settings["dropout"]) and 0 <= settings["dropout"] <= _MOST_DROPOUT):
        raise UsageError(f"dropout must be at least 0 and at most {_MOST_DROPOUT}, found {brief(settings['dropout'])}")
    if not (_is_number(settings["test_fraction"]) and 0 < settings["test_fraction"] < 1):
        raise UsageError(f"test_fraction must lie between 0 and 1, found {brief(settings['test_fraction'])}")
    for name in ("nesterov", "shuffle", "insecure"):
        if not isinstance(settings[name], bool):
            raise UsageError(f"{name} must be true or false, found {brief(settings[name])}")
    _check_class_weights(settings["class_weights"])


def _check_whole_numbers(settings: Mapping[str, Any]) -> None:
    for index, size in enumerate(settings["hidden"]):
        _whole(f"hidden layer {index + 1}", size, least=1)
    whole = {
        "batch_size": 1,
        "epochs": 1,
        "shards": 1,
        "threads": 1,
        "warmup": 0,
        "early_stopping": 1,
        "servers": 1,
    }
    for name, least in whole.items():
        value = settings[name]
        if value is not None:
            _whole(name, value, least)
    _whole("seed", settings["seed"], 0, 2**64 - 1)


def _check_sizes(settings: Mapping[str, Any]) -> None:
    seconds = dict.fromkeys(("timeout", "wait", "checkpoint_seconds"), _MOST_SECONDS)
    sizes = dict.fromkeys(("lr", "clip_value", "clip_norm", "max_norm"), sys.float_info.max)
    for name, most in {**sizes, **seconds}.items():
        value = settings[name]
        if value is not None and not (_is_number(value) and 0 < value < most):
            raise UsageError(f"{name} must be a finite number above 0 and below {most:g}, found {brief(value)}")


def _check_class_weights(weights: object) -> None:
    if weights is None or weights == "balanced":
        return
    if not isinstance(weights, Mapping) or not weights:
        raise UsageError(f"class_weights must be balanced, or a number for each class, found {brief(weights)}")
    for name, weight in weights.items():
        if not (_is_number(weight) and weight >= 0):
            whose = f"the weight of class {brief(name)}"
            raise UsageError(f"{whose} must be a finite number of at least 0, found {brief(weight)}")
    if not any(weights.values()):
        raise UsageError("all class_weights are 0: at least one class must count")


def check_of_tables(settings: Mapping[str, Any]) -> None:
    """Refuse what says how a table is read and is of another type."""
    for name in ("weights", "separator"):
        if not isinstance(settings[name], str | None):
            raise UsageError(f"{name} must be text, found {brief(settings[name])}")
    if isinstance(settings["target"], bool) or not isinstance(settings["target"], str | int | None):
        raise UsageError(f"target must be a column's name or number, found {brief(settings['target'])}")
    if not isinstance(settings["header"], bool | None):
        raise UsageError(f"header must be true or false, found {brief(settings['header'])}")
    drop = settings["drop"]
    if not isinstance(drop, list | tuple) or not all(isinstance(each, str | int) for each in drop):
        raise UsageError(f"drop must be a list of columns' names or numbers, found {brief(drop)}")


def ports(value: int | str | None) -> range:
    """Return the ports that ``PORT`` or ``FIRST-LAST`` stands for; port 0, any, for None."""
    if value is None:
        return range(1)
    first, dash, last = str(value).partition("-")
    last = last if dash else first
    is_one = all(each.isascii() and each.isdecimal() and len(each) <= len(str(_LAST_PORT)) for each in (first, last))
    if isinstance(value, bool) or not is_one or not 0 < int(first) <= int(last) <= _LAST_PORT:
        raise UsageError(f"host_ports must be a port or a range such as 7000-7099, up to {_LAST_PORT}; found {value!r}")
    return range(int(first), int(last) + 1)


def check_address(address: str) -> None:
    """Check the form of a cluster's address; whether somebody answers there is found out later."""
    host, _, port = str(address).rpartition(":")
    is_name = bool(host) and host.isprintable() and " " not in host and "://" not in host
    well_formed = is_name and port.isdecimal() and port.isascii() and len(port) <= 5 and 0 < int(port) < 65536
    if address != "auto" and not well_formed:
        expected = "HOST:PORT as seen from a node of the cluster, or auto"
        raise UsageError(f"address must be {expected}; found {brief(address)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < sys.float_info.max


def _whole(name: str, value: object, least: int, most: int = _MOST_WHOLE) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        bound = f" and at most {most:,}" if isinstance(value, int) and value > most else ""
        raise UsageError(f"{name} must be a whole number of at least {least}{bound}, found {brief(value)}")


def plain(value: Any) -> Any:
    """Return a NumPy number, as pipelines have them, as Python's own."""
    return value.item() if getattr(value, "ndim", None) == 0 else value
