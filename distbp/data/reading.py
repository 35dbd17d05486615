"""The settings of how data are read and cut into parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from distbp.config import Config, DataOptions
from distbp.errors import DataError, unknown_name

_TARGETS = ("target", "label", "class", "y")


@dataclass(frozen=True, kw_only=True)
class Reading(DataOptions):
    """How data are read, which columns of a table are used, and which rows are held out."""

    seed: int = Config.seed
    dtype: str = Config.dtype
    standardise: bool = True
    """Whether numeric targets of a table are standardised; not if the cost needs counts or probabilities."""

    @classmethod
    def of(cls, config: Config) -> Self:
        """Return the way of reading that these settings ask for."""
        standardise = config.cost in (None, "mse", "mae", "huber") and config.output in (None, "identity")
        return cls._from(config, standardise)

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
        settings = dict(given)
        standardise = settings.pop("standardise", True)
        return cls._from(Config.from_settings(settings), standardise)

    @classmethod
    def _from(cls, config: Config, standardise: bool) -> Self:
        settings = {name: getattr(config, name) for name in cls.__dataclass_fields__ if name != "standardise"}
        return cls(**settings, standardise=standardise)

    @property
    def chosen(self) -> list[str]:
        """Settings given that apply only to tables."""
        names = ("target", "drop", "weights", "separator", "header", "test_file")
        return [name for name in names if getattr(self, name) not in (None, ())]

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
