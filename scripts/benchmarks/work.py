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
"""Learning rate and momentum of SGD in every case."""

END_TO_END = "end-to-end"
KNOWN: Mapping[str, Case] = {**CASES, END_TO_END: Case((128,), 128, 3000)}
"""The cases by name; end-to-end is the one that is trained up to an accuracy."""


@dataclass(frozen=True)
class Work:
    """The options of the command line; small, so that other processes can get a copy."""

    case: str
    data: str
    steps: int
    """Number of timed steps."""
    target: float | None
    """If set, train until an epoch ends with this test accuracy, without timed steps."""

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
    def from_options(cls, options: argparse.Namespace) -> Work:
        """Return the work for the options that :meth:`parser` parsed."""
        return cls(options.case, options.data, options.steps or KNOWN[options.case].steps, options.target)

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
    """The initial weights as a flat vector."""
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
    content = {"samples_per_s": rows / seconds, "step_ms": 1000 * statistics.median(step_seconds)}
    return content if accuracy is None else {**content, "test_accuracy": accuracy}


def pin_processes() -> None:
    """Limit the processes that this one starts to one thread each and to the loopback interface."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"


def say(content: Mapping[str, Any]) -> None:
    """Print a report as one JSON line, the last of the output."""
    print(json.dumps(content), flush=True)
