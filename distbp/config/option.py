"""The description of a setting, from which its check, its command-line option and its documentation are generated."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from distbp.config.choices import CHOICES
from distbp.config.values import Values


@dataclass(frozen=True)
class Option:
    """The description of a setting."""

    values: Values
    """The values that it may have."""
    help: str
    default: Any
    """None if the setting may be left open."""
    if_open: str | None
    """What applies if the setting is left open."""
    metavar: str | None
    changes_result: bool
    """False if the setting can never change the result of a run."""

    @property
    def text(self) -> str:
        """The help, with what applies if the setting is left open."""
        return self.help if self.if_open is None else f"{self.help}  [default: {self.if_open}]"


def option(
    values: Values,
    default: Any,
    help: str,
    *,
    if_open: str | None = None,
    metavar: str | None = None,
    changes_result: bool = True,
) -> Any:
    """Return a dataclass field that is a setting."""
    return field(default=default, metadata={"option": Option(values, help, default, if_open, metavar, changes_result)})


def options_of(settings: type) -> dict[str, Option]:
    """Return the settings that a dataclass declares or inherits, by name."""
    return {each.name: each.metadata["option"] for each in fields(settings) if "option" in each.metadata}


def names_of(setting: str) -> str:
    """Return the known names of a setting for its help."""
    return "|".join(CHOICES[setting])
