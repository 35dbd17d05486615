"""The errors, by cause. Each message states what was found, what was expected and what to do.

DistbpError
|-- UsageError      the request itself is wrong: an option, a name, a number (also a ValueError)
|-- DataError       the content of a file or an array cannot be used (also a ValueError)
|-- RunError        a run directory or a model file cannot be read or written
|   |-- HeldError       another process holds the run's lock
|   `-- LostError       another process has taken over the run, or its directory was removed
|-- ClusterError    Ray cannot be reached, or has too little for this run
`-- TrainingError   the run began and could not continue
    |-- Interrupted     a callback or the user stopped it; its state was saved
    |-- CallbackError   a callback raised an exception
    |-- DivergedError   a cost, a gradient or a weight is no longer a finite number
    |-- CorruptError    two computations of the same numbers gave different bits
    `-- PeerLostError   a worker or the parameter server was lost and could not be replaced
        `-- HeadLostError   the head of the Ray cluster was lost, without which nothing can be replaced
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_MOST_SHOWN, _LONGEST_MESSAGE = 100, 2000


def brief(value: Any) -> str:
    """Return the repr of a value, shortened to fit into a message.

    >>> brief("x"), len(brief("a" * 5000)), brief(10**400)
    ("'x'", 100, 'a number of 400 digits')
    """
    if isinstance(value, int) and value.bit_length() > 2 * _MOST_SHOWN:
        return f"a number of {round(value.bit_length() * math.log10(2)):,} digits"
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 20]}… ({len(text):,} characters)"


def shortened(message: str) -> str:
    """Return a message, with its middle cut out if it is too long to read."""
    start = _LONGEST_MESSAGE // 2
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:start]} … {message[-start // 2 :]}"


class DistbpError(Exception):
    """Base of all errors that a user can act on; any other exception is a bug and keeps its traceback."""

    def __str__(self) -> str:
        return shortened(super().__str__())


class UsageError(DistbpError, ValueError):
    """The request itself is wrong: an option, a name, a number, a run directory that is in use."""


class DataError(DistbpError, ValueError):
    """The content of a file or an array cannot be used."""


class RunError(DistbpError):
    """A run directory or a model file cannot be read or written."""


class HeldError(RunError):
    """Another process holds the lock of a run or of prepared data."""


class LostError(RunError):
    """Another process has taken over the run or data set that this one writes, or removed it: writing must stop."""


class ClusterError(DistbpError):
    """Ray cannot be reached, or has too little for this run."""


class TrainingError(DistbpError):
    """The run began and could not continue."""


class Interrupted(TrainingError):
    """A callback or the user stopped the run; its state was saved."""


class CallbackError(TrainingError):
    """A callback raised an exception, which is this error's ``__cause__``; the run's state was saved.

    Attributes:
        callback: class and method of the callback.
        step: number of steps done.
    """

    def __init__(self, callback: str, step: int, error: Exception) -> None:
        first_line = (str(error).strip().splitlines() or [""])[0]
        super().__init__(
            f"callback {callback} failed after step {step}: {type(error).__name__}{': ' * bool(first_line)}{first_line}"
        )
        self.callback = callback
        self.step = step


class DivergedError(TrainingError):
    """A number of this step is not finite, or its square would not be; the step's update was not applied.

    Attributes:
        step: the step, counted from 0 over the whole run.
        layer: the first layer l = 1..L with such a number.
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
    """Two computations of the same numbers gave different bits: memory or a CPU is faulty."""


class PeerLostError(TrainingError):
    """A worker or the parameter server was lost and could not be replaced."""


class HeadLostError(PeerLostError):
    """The head of the Ray cluster was lost: nothing can be replaced, and Ray cannot be asked to shut down."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown name, with the most similar known name.

    >>> print(unknown_name("activation", "rleu", ["sigmoid", "relu"]))
    unknown activation 'rleu': did you mean 'relu'? Known: sigmoid, relu
    """
    names = list(known)
    similar = difflib.get_close_matches(name[:_MOST_SHOWN], names, n=1)
    hint = f": did you mean {similar[0]!r}?" if similar else "."
    return UsageError(f"unknown {kind} {brief(name)}{hint} Known: {', '.join(names)}")


@contextmanager
def needs(package: str, extra: str) -> Iterator[None]:
    """Turn the ImportError of a missing package into one that states how to install the package.

    Raises:
        ImportError: the package or one of its dependencies is missing.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{package} is missing ({error}): pip install 'distbp[{extra}]'", name=error.name) from error
