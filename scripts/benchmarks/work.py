"""The task of every contestant: the same data, initial weights and order of rows, and the form of its report."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distbp.data import Rows, load
from distbp.data.epoch_order import EpochOrder
from distbp.nn.initialization import initial_weights
from distbp.nn.structure import Structure
from distbp.planning.bench import CASES, UNTIMED_STEPS, Case

RATE, MOMENTUM = 0.1, 0.9
"""Of stochastic gradient descent, in every case."""

END_TO_END = "end-to-end"
KNOWN: Mapping[str, Case] = {**CASES, END_TO_END: Case((128,), 128, 3000)}
"""The cases by name; end-to-end is the one that is trained up to an accuracy."""


@dataclass(frozen=True)
class Work:
    """The options of the command line; small, so that other processes can get a copy."""

    case: str
    data: str
    steps: int
    """Timed steps."""
    target: float | None
    """Instead of timed steps, train until an epoch ends with this test accuracy."""

    @classmethod
    def from_command_line(cls, description: str | None) -> Work:
        """Read ``CASE --data FOLDER`` with ``--steps N`` or ``--target ACCURACY``."""
        return cls.from_options(cls.parser(description).parse_args())

    @staticmethod
    def parser(description: str | None) -> argparse.ArgumentParser:
        """Return the parser of these options, to which a script may add its own."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("case", choices=list(KNOWN))
        parser.add_argument("--data", required=True, metavar="FOLDER", help="with the MNIST IDX files")
        parser.add_argument("--steps", type=int, metavar="N", help="timed steps, after the untimed ones")
        parser.add_argument("--target", type=float, metavar="ACCURACY", help="train until a test accuracy instead")
        return parser

    @classmethod
    def from_options(cls, found: argparse.Namespace) -> Work:
        """Return the work for the options that :meth:`parser` parsed."""
        return cls(found.case, found.data, found.steps or KNOWN[found.case].steps, found.target)

    def prepare(self) -> Prepared:
        """Read the data and draw the initial weights."""
        case, data = KNOWN[self.case], load(self.data)
        sizes = (data.features, *case.hidden, data.outputs)
        structure = Structure(sizes, (*["relu"] * len(case.hidden), "softmax"), "cross-entropy")
        order = EpochOrder(len(data.train), case.batch_size, seed=0)
        weights = initial_weights(structure, "he", seed=0)
        return Prepared(structure, weights, order, Table.of(data.train), Table.of(data.test))


@dataclass(frozen=True)
class Table:
    """Rows in the form that suits the peers: float32 and class numbers, contiguous in memory."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Rows) -> Table:
        """Convert all rows at once."""
        return cls(rows.x.astype(np.float32) * np.float32(rows.factor), rows.y.astype(np.int64))


@dataclass(frozen=True)
class Prepared:
    """The data and initial weights of a contestant."""

    structure: Structure
    weights: NDArray[np.float32]
    """The initial ones, flat."""
    order: EpochOrder
    train: Table
    test: Table

    def rows_in(self, steps: range) -> int:
        """Return how many examples these steps see."""
        return sum(self.order.size(step) for step in steps)


def timed(work: Work) -> range:
    """Return the numbers of the timed steps."""
    return range(UNTIMED_STEPS, UNTIMED_STEPS + work.steps)


def report(rows: int, seconds: float, step_seconds: Sequence[float], accuracy: float | None) -> dict[str, Any]:
    """Return a contestant's report; ``step_ms`` is the median."""
    found = {"samples_per_s": rows / seconds, "step_ms": 1000 * statistics.median(step_seconds)}
    return found if accuracy is None else {**found, "test_accuracy": accuracy}


def pin_processes() -> None:
    """Limit the processes that this one starts to one thread each and to the loopback interface."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"


def say(found: Mapping[str, Any]) -> None:
    """Print a report as one JSON line, the last of the output."""
    print(json.dumps(found), flush=True)
