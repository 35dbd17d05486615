"""Checks of single settings; what depends on several is checked where they are."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from distbp.errors import UsageError

_MOST_SECONDS = 1_000_000
_MOST_DROPOUT = 0.99
_LAST_PORT = 65535


def check_numbers(settings: Mapping[str, Any]) -> None:
    """Refuse numbers that are none, or out of range."""
    _check_whole_numbers(settings)
    _check_sizes(settings)
    for name in ("momentum", "weight_decay", "label_smoothing", "validation_fraction"):
        value = settings[name]
        if value is not None and not (_is_number(value) and 0 <= value < 1):
            raise UsageError(f"{name} must be at least 0 and below 1, found {value!r}")
    for name in ("l1", "l2"):
        if not (_is_number(settings[name]) and settings[name] >= 0):
            raise UsageError(f"{name} must be a finite number of at least 0, found {settings[name]!r}")
    if not (_is_number(settings["dropout"]) and 0 <= settings["dropout"] <= _MOST_DROPOUT):
        raise UsageError(f"dropout must be at least 0 and at most {_MOST_DROPOUT}, found {settings['dropout']!r}")
    if not (_is_number(settings["test_fraction"]) and 0 < settings["test_fraction"] < 1):
        raise UsageError(f"test_fraction must lie between 0 and 1, found {settings['test_fraction']!r}")
    for name in ("nesterov", "shuffle", "insecure"):
        if not isinstance(settings[name], bool):
            raise UsageError(f"{name} must be true or false, found {settings[name]!r}")
    _check_class_weights(settings["class_weights"])


def _check_whole_numbers(settings: Mapping[str, Any]) -> None:
    for index, size in enumerate(settings["hidden"]):
        _whole(f"hidden layer {index + 1}", size, least=1)
    whole = {
        "batch_size": 1,
        "epochs": 1,
        "seed": 0,
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
    if settings["seed"] >= 2**64:
        raise UsageError(f"seed must be below 2**64, found {settings['seed']}")


def _check_sizes(settings: Mapping[str, Any]) -> None:
    seconds = dict.fromkeys(("timeout", "wait", "checkpoint_seconds"), _MOST_SECONDS)
    sizes = dict.fromkeys(("lr", "clip_value", "clip_norm", "max_norm"), sys.float_info.max)
    for name, most in {**sizes, **seconds}.items():
        value = settings[name]
        if value is not None and not (_is_number(value) and 0 < value < most):
            raise UsageError(f"{name} must be a finite number above 0 and below {most:g}, found {value!r}")


def _check_class_weights(weights: object) -> None:
    if weights is None or weights == "balanced":
        return
    if not isinstance(weights, Mapping) or not weights:
        raise UsageError(f"class_weights must be balanced, or a number for each class, found {weights!r}")
    for name, weight in weights.items():
        if not (_is_number(weight) and weight >= 0):
            raise UsageError(f"the weight of class {name!r} must be a finite number of at least 0, found {weight!r}")
    if not any(weights.values()):
        raise UsageError("all class_weights are 0: at least one class must count")


def check_workers(workers: int | str) -> None:
    """Refuse what is no number of workers."""
    least, dots, most = str(workers).partition("..")
    if workers == "auto" or (dots and least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most)):
        return
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 0:
        raise UsageError(
            f"workers must be a whole number of at least 0, auto, or a range such as 2..6; found {workers!r}"
        )


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
    well_formed = bool(host) and "://" not in address and port.isdecimal() and port.isascii() and 0 < int(port) < 65536
    if address != "auto" and not well_formed:
        raise UsageError(f"address must be HOST:PORT as seen from a node of the cluster, or auto; found {address!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < sys.float_info.max


def _whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} must be a whole number of at least {least}, found {value!r}")
