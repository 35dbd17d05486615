"""Records of one step: a worker's report to the parameter server, and the server's record of the whole step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from distbp.errors import DivergedError
from distbp.parallel.step.shards import Span


class Divergence(NamedTuple):
    """The first number of a step that is not finite."""

    what: str
    """``the cost``, ``a gradient`` or ``a weight``."""
    layer: int
    """The first layer l = 1..L with such a number."""


@dataclass(frozen=True, slots=True)
class Report:
    """A worker's numbers for the shards that it computed, sent with their gradients."""

    span: Span
    rows: int
    """Examples in these shards."""
    costs: tuple[float, ...]
    """Sum of the examples' costs, per shard."""
    right: int
    """Correctly classified examples."""
    weights: tuple[float, ...]
    """Sum of the examples' weights, per shard; without weights the number of examples."""
    squares: tuple[float, ...]
    """Squared norm of each shard's gradient sum; in a diagnosed step, over the existing connections only."""
    weight_squares: tuple[float, ...]
    """Sum of the squared weights of each shard's examples; 0 in a step that is not diagnosed."""
    divergence: Divergence | None = None


class TimeSpent(NamedTuple):
    """Seconds that workers and server have spent so far."""

    computing: Mapping[str, float]
    """Seconds that each worker, by name, has spent computing; it waited for the rest of its time."""
    serving: float
    """Seconds spent adding sums, exchanging them with other hosts and updating, while the workers waited."""


class WorkerRecord(NamedTuple):
    """The state of a worker, as the driver sees it."""

    number: int
    host: str
    shards: Span
    """Shards that the worker computes while no worker is lost or a straggler; may be empty."""
    computing: float | None
    """Share of the last seconds in which the worker was computing, not waiting; None if unknown."""
    silent: float
    """Seconds since the worker's last sign of life."""


class Diagnosis(NamedTuple):
    """Diagnostics of a step: norms per layer, and the estimates for the gradient noise scale."""

    gradient_norms: tuple[float, ...]
    update_norms: tuple[float, ...]
    """Norms of the change of the parameters in this step."""
    weight_norms: tuple[float, ...]
    """Norms of the parameters before this step."""
    spread: float
    """See :class:`distbp.parallel.step.diagnosis.Noise`; NaN with a single shard."""
    signal: float
    """See :class:`distbp.parallel.step.diagnosis.Noise`; NaN with a single shard."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """The results of one step, recorded by the parameter server."""

    step: int
    """Number of the step, counted from 0 over the whole run."""
    rows: int
    """Examples in the mini-batch."""
    cost: float
    """Mean cost of the examples, before the update."""
    right: int
    """Correctly classified examples, before the update."""
    seconds: float = 0.0
    """Duration from the start of the step to the end of its update."""
    divergence: Divergence | None = None
    """The divergence of the step, whose update then was not applied; None if the step did not diverge."""
    layers: tuple[int, ...] = ()
    """A 64-bit hash of each layer's parameters after the update."""
    weight: float = 0.0
    """Sum of the weights of the mini-batch's examples."""
    diagnosis: Diagnosis | None = None
    """Diagnostics; only some steps have them (see distbp.parallel.step.diagnosis)."""

    def check(self) -> StepRecord:
        """Return this record; raise DivergedError if the step diverged."""
        if self.divergence is not None:
            raise DivergedError(self.divergence.what, self.step, self.divergence.layer)
        return self
