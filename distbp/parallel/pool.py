"""Who computes the steps: the seam between the algorithm and its processes, and the pool that needs none."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from distbp.config import Config
from distbp.data.dataset import Array, Rows
from distbp.data.order import Order
from distbp.nn.structure import Structure
from distbp.optim import make_optimizer
from distbp.parallel.records import StepRecord
from distbp.parallel.server import ParameterServer
from distbp.parallel.shards import Span, cut
from distbp.parallel.worker import Worker


class Pool(Protocol):
    """A parameter server and its workers, wherever they are. Leaving the ``with`` block stops them."""

    def __enter__(self) -> Self:
        """Return the pool, ready for its first step."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop everything that the pool started."""

    def steps(self, stop: int) -> Iterator[StepRecord]:
        """Do the steps up to before ``stop``; yield each one's record after its update was applied.

        Raises:
            DivergedError: a step's update would not have been finite; the state before it is kept.
            PeerLostError: a worker or the server died or fell silent.
        """

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters)."""


def make_server(structure: Structure, config: Config, state: Array, step: int) -> ParameterServer:
    """Return the parameter server that the settings describe."""
    assert config.lr is not None
    optimizer = make_optimizer(config.optimizer, config.momentum, config.nesterov)
    return ParameterServer(structure, optimizer, config.lr, state, step)


def shards_of(order: Order, step: int, shards: int) -> Span:
    """Return the span of all shards of a step: fewer than ``shards`` only where the mini-batch has fewer rows."""
    return Span(0, len(cut(order.size(step), shards)))


class InProcess:
    """Worker and parameter server in the calling process: the same classes, the same bits, no Ray."""

    def __init__(self, structure: Structure, config: Config, rows: Rows, state: Array, step: int = 0) -> None:
        assert config.shards is not None
        self._worker = Worker(structure, config, rows)
        self._sum = structure.parameters(np.empty(structure.parameter_count, config.dtype))
        self._server = make_server(structure, config, state, step)
        self._order = Order(len(rows), config.batch_size, config.seed)
        self._shards = config.shards

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def steps(self, stop: int) -> Iterator[StepRecord]:
        """Do the steps up to before ``stop``; yield each one's record after its update was applied."""
        while self._server.step < stop:
            step = self._server.step
            whole = shards_of(self._order, step, self._shards)
            report = self._worker.push(step, whole, self._server.weights, [self._sum])
            yield self._server.update(step, [report], {whole: self._sum.flat}).check()

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters)."""
        return self._server.state.copy()
