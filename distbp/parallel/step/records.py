"""What workers tell the parameter server, and what the server tells everybody, about one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from distbp.errors import DivergedError
from distbp.parallel.step.shards import Span


class Divergence(NamedTuple):
    """A number that is no longer finite."""

    what: str
    """``the cost``, ``a gradient`` or ``a weight``."""
    layer: int
    """The first layer l = 1..L that shows it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says beside the gradients of the shards it holds."""

    span: Span
    rows: int
    """Examples in these shards."""
    costs: tuple[float, ...]
    """Sum of the examples' costs, shard by shard."""
    right: int
    """Examples whose class the network gives."""
    weights: tuple[float, ...]
    """What the examples of each shard count together: their number, if each counts once."""
    squares: tuple[float, ...]
    """The squared length of each shard's gradient sum; in a diagnosed step, only over the connections that are kept."""
    weight_squares: tuple[float, ...]
    """The sum of the squared weights of each shard's examples; 0 in a step that is not diagnosed."""
    divergence: Divergence | None = None


class TimeSpent(NamedTuple):
    """What those who do the steps have done with their time so far, in seconds."""

    computing: Mapping[str, float]
    """Of each worker by its name, what it took to compute its shards; the rest of its time it waited."""
    serving: float
    """What adding up, exchanging sums with other hosts and updating took, while the workers waited."""


class WorkerRecord(NamedTuple):
    """A worker as the driver sees it at a moment."""

    number: int
    host: str
    shards: Span
    """That are its own if nobody is lost or late; empty for one that has none."""
    computing: float | None
    """Share of the last seconds in which it computed; the rest it waited. None where that is not known."""
    silent: float
    """Seconds since it showed life."""


class Diagnosis(NamedTuple):
    """What a step shows of the descent's health, layer by layer."""

    gradient_norms: tuple[float, ...]
    update_norms: tuple[float, ...]
    """Of the change of the weights in this step."""
    weight_norms: tuple[float, ...]
    """Before this step."""
    spread: float
    """See :class:`distbp.parallel.step.diagnosis.Noise`; NaN with one shard, also the next one."""
    signal: float


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step as the parameter server saw it."""

    step: int
    """Counted from 0 over the whole run."""
    rows: int
    """Examples in the mini-batch."""
    cost: float
    """Mean of the examples' costs, before the update."""
    right: int
    """Examples whose class the network gave, before the update."""
    seconds: float = 0.0
    """From the step's begin to the end of its update."""
    divergence: Divergence | None = None
    """Set if the step's update was not applied."""
    layers: tuple[int, ...] = ()
    """A 64-bit hash of each layer's parameters after the update."""
    weight: float = 0.0
    """What the examples of the mini-batch count together."""
    diagnosis: Diagnosis | None = None
    """Of some steps (see distbp.parallel.step.diagnosis)."""

    def check(self) -> StepRecord:
        """Return this record; raise DivergedError if the update was not applied."""
        if self.divergence is not None:
            raise DivergedError(self.divergence.what, self.step, self.divergence.layer)
        return self
