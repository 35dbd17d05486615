"""What can go wrong, by whose hand. Every message says what was found, what was expected and what to do.

DistbpError
|-- UsageError      the request itself is wrong: an option, a name, a number (also a ValueError)
|-- DataError       what a file or an array holds cannot be used (also a ValueError)
|-- RunError        a run directory or a model file cannot be read or written
|-- ClusterError    Ray cannot be reached, or has too little for this run
`-- TrainingError   the run began and could not go on
    |-- Interrupted     a callback or the user ended it; the state was kept
    |-- CallbackError   a callback raised something
    |-- DivergedError   a cost, a gradient or a weight is no longer a finite number
    |-- CorruptError    two computations of the same thing gave different bits
    `-- PeerLostError   a worker or the parameter server was lost, and nobody could take its place
        `-- HeadLostError   the head of the Ray cluster was lost, without which nobody can be replaced
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_MOST_SHOWN, _LONGEST_MESSAGE = 100, 2000


def brief(value: Any) -> str:
    """Return a value as Python writes it, but never more than a message has room for.

    >>> brief("x"), len(brief("a" * 5000)), brief(10**400)
    ("'x'", 100, 'a number of 400 digits')
    """
    if isinstance(value, int) and value.bit_length() > 2 * _MOST_SHOWN:
        return f"a number of {round(value.bit_length() * math.log10(2)):,} digits"
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 20]}… ({len(text):,} characters)"


def shortened(message: str) -> str:
    """Return a message without its middle where that is too long to be read."""
    cut = _LONGEST_MESSAGE // 2
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:cut]} … {message[-cut // 2 :]}"


class DistbpError(Exception):
    """The base of all errors that are the user's to read; anything else is a bug and keeps its traceback."""

    def __str__(self) -> str:
        return shortened(super().__str__())


class UsageError(DistbpError, ValueError):
    """The request itself is wrong: an option, a name, a number, a run directory that is taken."""


class DataError(DistbpError, ValueError):
    """What a file or an array holds cannot be used."""


class RunError(DistbpError):
    """A run directory or a model file cannot be read or written."""


class ClusterError(DistbpError):
    """Ray cannot be reached, or has too little for this run."""


class TrainingError(DistbpError):
    """The run began and could not go on."""


class Interrupted(TrainingError):
    """A callback or the user ended the run; the state was kept."""


class CallbackError(TrainingError):
    """A callback raised something, which is the cause of this error; the state was kept.

    Attributes:
        callback: its class and method.
        step: the steps that were done.
    """

    def __init__(self, callback: str, step: int, error: Exception) -> None:
        said = (str(error).strip().splitlines() or [""])[0]
        super().__init__(
            f"callback {callback} failed after step {step}: {type(error).__name__}{': ' * bool(said)}{said}"
        )
        self.callback = callback
        self.step = step


class DivergedError(TrainingError):
    """A number of this step is not finite, or too large to be squared; its update was not applied.

    Attributes:
        step: the step, counted from 0 over the whole run.
        layer: the first layer l = 1..L that shows it.
    """

    def __init__(self, what: str, step: int, layer: int, text: str | None = None) -> None:
        super().__init__(
            text
            or f"{what} of step {step} is not a finite number, first in layer {layer}: exploding; "
            "the last good weights are kept: try a lower --lr, or scale the inputs to about -1..1"
        )
        self.step = step
        self.layer = layer


class CorruptError(TrainingError):
    """Two computations of the same thing gave different bits, so the memory or a CPU cannot be trusted."""


class PeerLostError(TrainingError):
    """A worker or the parameter server was lost, and nobody could take its place."""


class HeadLostError(PeerLostError):
    """The head of the Ray cluster was lost, without which nobody can be replaced, and Ray cannot be asked to end."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that nobody knows, with the nearest known one.

    >>> print(unknown_name("activation", "rleu", ["sigmoid", "relu"]))
    unknown activation 'rleu': did you mean 'relu'? Known: sigmoid, relu
    """
    names = list(known)
    near = difflib.get_close_matches(name[:_MOST_SHOWN], names, n=1)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return UsageError(f"unknown {kind} {brief(name)}{hint} Known: {', '.join(names)}")


@contextmanager
def needs(package: str, extra: str) -> Iterator[None]:
    """Say how to install a package that is missing, where the block imports it.

    Raises:
        ImportError: it is missing, or what it needs itself is.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{package} is missing ({error}): pip install 'distbp[{extra}]'", name=error.name) from error
