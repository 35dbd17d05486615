"""The known names of settings, and the members of the objects that users may give instead of a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distbp.errors import UsageError, unknown_name

_HIDDEN = ("sigmoid", "tanh", "relu", "leaky-relu", "elu", "gelu", "softplus", "swish", "identity")

CHOICES: Mapping[str, tuple[str, ...]] = {
    "activation": _HIDDEN,
    "output": (*_HIDDEN, "softmax"),
    "cost": ("cross-entropy", "binary-cross-entropy", "mse", "mae", "huber", "poisson"),
    "initial": ("he", "glorot"),
    "optimizer": ("sgd", "adagrad", "rmsprop", "adam", "adamw", "lion"),
    "schedule": ("constant", "step", "exponential", "inverse-time", "cosine", "one-cycle", "plateau"),
    "dtype": ("float32", "float64"),
    "task": ("classification", "regression"),
    "wire": ("exact", "float16"),
}
"""The known names of each setting."""

_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "activation": ("value", "derivative"),
    "output": ("value", "derivative"),
    "cost": ("value", "derivative"),
    "optimizer": ("slots", "update"),
    "schedule": ("factor",),
}
"""The members that an object of the user's own must have."""


def name_of(part: Any) -> str:
    """Return the name of a part; of an object its ``name``, else that of its type."""
    return part if isinstance(part, str) else str(getattr(part, "name", type(part).__name__))


def check_choice(setting: str, part: Any) -> None:
    """Check the name of a built-in part, or the members of a user's own object.

    Raises:
        UsageError: the name is unknown, or the object lacks a member.
    """
    if isinstance(part, str) or setting not in _MEMBERS:
        if part not in CHOICES[setting]:
            raise unknown_name(setting, str(part), CHOICES[setting])
        return
    missing = [member for member in _MEMBERS[setting] if not hasattr(part, member)]
    if missing or isinstance(part, type):
        what = (
            "it is a class, give an object of it" if isinstance(part, type) else f"it has no {' and no '.join(missing)}"
        )
        raise UsageError(
            f"{name_of(part) if not isinstance(part, type) else part.__name__!r} cannot be the {setting}: {what}"
        )
