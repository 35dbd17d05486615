"""The settings of reading: how a table is read, which of its columns are what, and which rows are held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from distbp.config import CHOICES, Config
from distbp.errors import DataError, unknown_name

_TARGETS = ("target", "label", "class", "y")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How tables are read, which columns are what, and which rows are held out."""

    target: str | int | None = None
    """Column with the targets: its name, or its number from 0, -1 for the last (target, label, class or y)."""
    drop: Sequence[str] = ()
    """Columns to leave out, by name or number."""
    weights: str | None = None
    """Column with what each row counts."""
    separator: str | None = None
    """Between the cells of a text file: a character or its name (guessed)."""
    header: bool | None = None
    """Whether a text file's first row names the columns (guessed)."""
    test_file: str | None = None
    """File with the test rows."""
    task: str | None = None
    test_fraction: float = 0.2
    validation_fraction: float = 0.0
    seed: int = 0
    dtype: str = "float32"
    standardise: bool = True
    """Whether values to predict are standardised: not where the cost needs counts or probabilities."""

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in CHOICES["task"]:
            raise unknown_name("task", self.task, CHOICES["task"])

    @classmethod
    def of(cls, settings: Any) -> Self:
        """Return the settings of reading that are part of a run's settings."""
        given = {field.name: getattr(settings, field.name) for field in fields(cls) if hasattr(settings, field.name)}
        takes_any_value = settings.cost in (None, "mse", "mae", "huber") and settings.output in (None, "identity")
        return cls(**given, standardise=takes_any_value)

    @classmethod
    def from_names(cls, given: Mapping[str, Any]) -> Self:
        """Build from settings by name.

        Raises:
            UsageError: a name is unknown, or a value is not allowed.
        """
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise unknown_name("setting", name, known)
        Config.from_settings({name: value for name, value in given.items() if name != "standardise"})  # checks values
        return cls(**given)

    @property
    def chosen(self) -> list[str]:
        """Settings given that apply only to tables."""
        names = ("target", "drop", "weights", "separator", "header", "test_file")
        return [name for name in names if getattr(self, name) not in (None, (), [])]

    def test_path(self) -> Path | None:
        """Return the path of the file with the test rows."""
        return None if self.test_file is None else Path(self.test_file)

    def target_of(self, names: Sequence[str], table: str) -> str:
        """Return the name of the target column.

        Raises:
            DataError: the named column is missing, or none was named and none has a usual name.
        """
        if self.target is not None:
            return column_of(self.target, names, table, "--target")
        for wanted in _TARGETS:
            for name in names:
                if name.strip().lower() == wanted:
                    return name
        raise DataError(
            f"{table} has no column called {', '.join(_TARGETS[:-1])} or {_TARGETS[-1]}: name the target column with "
            f"--target; there are {_some(names)}"
        )


def column_of(wanted: str | int, names: Sequence[str], table: str, option: str) -> str:
    """Return the name of the column with this name or number; -1 is the last column."""
    if str(wanted) in names:
        return str(wanted)
    try:
        return names[int(wanted)]
    except ValueError:
        raise DataError(f"{table} has no column {str(wanted)!r} ({option}): there are {_some(names)}") from None
    except IndexError:
        raise DataError(f"{table} has no column number {wanted} ({option}): it has {len(names)}, from 0 on") from None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
