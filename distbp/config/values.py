"""The values that a setting may have: each class checks a value and returns it in the form in which it is stored.

The classes generate no comparison and no text of their own, which would take 3 ms of every start.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from distbp.config.choices import check_choice
from distbp.config.workers import Workers
from distbp.errors import UsageError, brief

_MOST_WHOLE = 1_000_000_000
_LAST_PORT = 65535


class Values(Protocol):
    """The values that a setting may have."""

    def checked(self, name: str, value: Any) -> Any:
        """Return the value in its stored form.

        Raises:
            UsageError: the setting ``name`` cannot have this value.
        """


@dataclass(frozen=True, eq=False, repr=False)
class Whole:
    """Whole numbers from ``least`` to ``most``."""

    least: int
    most: int = _MOST_WHOLE

    def checked(self, name: str, value: Any) -> int:
        """Return the number."""
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            bound = f" and at most {self.most:,}" if isinstance(value, int) and value > self.most else ""
            raise UsageError(f"{name} must be a whole number of at least {self.least}{bound}, found {brief(value)}")
        return value


@dataclass(frozen=True, eq=False, repr=False)
class Number:
    """Finite numbers from ``least`` to ``most``; ``above`` and ``below`` exclude the bound itself."""

    least: float = 0
    most: float | None = None
    above: bool = False
    below: bool = False

    def checked(self, name: str, value: Any) -> Any:
        """Return the number."""
        if not is_number(value) or not self._contains(value):
            raise UsageError(f"{name} must be a {self._expected()}, found {brief(value)}")
        return value

    def _contains(self, value: float) -> bool:
        if value < self.least or (self.above and value == self.least):
            return False
        return self.most is None or value < self.most or (not self.below and value == self.most)

    def _expected(self) -> str:
        lower = f"above {self.least:,}" if self.above else f"of at least {self.least:,}"
        if self.most is None:
            return f"finite number {lower}"
        return f"number {lower} and {'below' if self.below else 'at most'} {self.most:,}"


ABOVE_0 = Number(above=True)
AT_LEAST_0 = Number()
FRACTION = Number(most=1, below=True)
SECONDS = Number(most=1_000_000, above=True, below=True)


@dataclass(frozen=True, eq=False, repr=False)
class Flag:
    """True or false."""

    def checked(self, name: str, value: Any) -> bool:
        """Return the flag."""
        if not isinstance(value, bool):
            raise UsageError(f"{name} must be true or false, found {brief(value)}")
        return value


@dataclass(frozen=True, eq=False, repr=False)
class Text:
    """Any text."""

    def checked(self, name: str, value: Any) -> str:
        """Return the text."""
        if not isinstance(value, str):
            raise UsageError(f"{name} must be text, found {brief(value)}")
        return value


@dataclass(frozen=True, eq=False, repr=False)
class FilePath:
    """The path of a file, stored as text."""

    def checked(self, name: str, value: Any) -> str:
        """Return the path as text."""
        return str(value)


@dataclass(frozen=True, eq=False, repr=False)
class Name:
    """One of the setting's known names, or for some settings an object of the user's own."""

    def checked(self, name: str, value: Any) -> Any:
        """Return the name or the object."""
        check_choice(name, value)
        return value


@dataclass(frozen=True, eq=False, repr=False)
class NamePerLayer:
    """A name or an object for all hidden layers, or a list with one for each."""

    def checked(self, name: str, value: Any) -> Any:
        """Return one name or object, or a tuple with one for each layer."""
        several = isinstance(value, list | tuple)
        for part in value if several else (value,):
            check_choice(name, part)
        return tuple(value) if several else value


@dataclass(frozen=True, eq=False, repr=False)
class LayerSizes:
    """The number of nodes of each hidden layer, stored as a tuple."""

    def checked(self, name: str, value: Any) -> tuple[int, ...]:
        """Return the sizes."""
        if not isinstance(value, list | tuple):
            raise UsageError(f"{name} must be a list of layer sizes, found {brief(value)}")
        return tuple(
            Whole(1).checked(f"{name} layer {index}", plain(size)) for index, size in enumerate(value, start=1)
        )


@dataclass(frozen=True, eq=False, repr=False)
class ClassWeights:
    """A weight for each class, or ``balanced``."""

    def checked(self, name: str, value: Any) -> Any:
        """Return the weights."""
        if value == "balanced":
            return value
        if not isinstance(value, Mapping) or not value:
            raise UsageError(f"{name} must be balanced, or a number for each class, found {brief(value)}")
        for each, weight in value.items():
            AT_LEAST_0.checked(f"the weight of class {brief(each)}", weight)
        if not any(value.values()):
            raise UsageError(f"all {name} are 0: at least one class must count")
        return value


@dataclass(frozen=True, eq=False, repr=False)
class Column:
    """A column of a table: its name or its number."""

    def checked(self, name: str, value: Any) -> str | int:
        """Return the name or number."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise UsageError(f"{name} must be a column's name or number, found {brief(value)}")
        return value


@dataclass(frozen=True, eq=False, repr=False)
class Columns:
    """Columns of a table, stored as a tuple."""

    def checked(self, name: str, value: Any) -> tuple[str | int, ...]:
        """Return the names or numbers."""
        columns = (value,) if isinstance(value, str) else value
        if isinstance(columns, Iterable) and not isinstance(columns, bytes):
            columns = tuple(map(plain, columns))
            if all(isinstance(each, str | int) for each in columns):
                return columns
        raise UsageError(f"{name} must be a list of columns' names or numbers, found {brief(value)}")


@dataclass(frozen=True, eq=False, repr=False)
class WorkerNumber:
    """A number of workers, a range, or ``auto``, stored as it is written."""

    def checked(self, name: str, value: Any) -> int | str:
        """Return the number, range or ``auto``."""
        return Workers.of(value).written


@dataclass(frozen=True, eq=False, repr=False)
class Ports:
    """A port, or a range such as ``7000-7099``."""

    @staticmethod
    def range_of(value: int | str | None) -> range:
        """Return the ports of a checked value; port 0, which means any free port, for None."""
        if value is None:
            return range(1)
        first, _, last = str(value).partition("-")
        return range(int(first), int(last or first) + 1)

    def checked(self, name: str, value: Any) -> int | str:
        """Return the port or range."""
        first, dash, last = str(value).partition("-")
        last = last if dash else first
        are_ports = all(each.isascii() and each.isdecimal() and len(each) <= 5 for each in (first, last))
        if isinstance(value, bool) or not are_ports or not 0 < int(first) <= int(last) <= _LAST_PORT:
            expected = f"a port or a range such as 7000-7099, up to {_LAST_PORT}"
            raise UsageError(f"{name} must be {expected}; found {brief(value)}")
        port: int | str = value
        return port


@dataclass(frozen=True, eq=False, repr=False)
class Address:
    """The address of a Ray cluster, ``HOST:PORT`` or ``auto``; only its form is checked."""

    def checked(self, name: str, value: Any) -> str:
        """Return the address."""
        host, _, port = str(value).rpartition(":")
        is_host = bool(host) and host.isprintable() and " " not in host and "://" not in host
        is_port = port.isdecimal() and port.isascii() and len(port) <= 5 and 0 < int(port) <= _LAST_PORT
        if value != "auto" and not (is_host and is_port):
            expected = "HOST:PORT as seen from a node of the cluster, or auto"
            raise UsageError(f"{name} must be {expected}; found {brief(value)}")
        address: str = value
        return address


def is_number(value: object) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < sys.float_info.max


def plain(value: Any) -> Any:
    """Return a NumPy scalar as a Python number, and any other value as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value
