"""The epochs of an estimator's fit, in this process or on workers, and when they should end."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from distbp.config import Settings
from distbp.data.dataset import Array, Gather, Rows
from distbp.data.epoch_order import EpochOrder
from distbp.model.network import Network
from distbp.nn.backprop import Backprop
from distbp.nn.structure import Structure
from distbp.system.blas import one_thread
from distbp.system.limits import cpu_count
from distbp.training.executors import start_executor

_ROWS_AT_ONCE = 1024
_LEAST_RATE = 1e-6
"""At which an adaptive step size is not made smaller any more, as in scikit-learn."""


class Epoch(NamedTuple):
    """What an epoch gave."""

    cost: float
    """Mean of the examples' costs as they were trained on, without the penalty."""
    state: Array
    """Weights and optimizer state, shape (1 + slots, parameters)."""
    step: int
    """Steps done."""


def run_epochs(
    structure: Structure, config: Settings, rows: Rows, state: Array, step: int, factor: Callable[[], float]
) -> Generator[Epoch, None, None]:
    """Do the epochs of ``config`` after ``step`` steps; the step size is ``factor()`` times config's in each."""
    steps_per_epoch = EpochOrder.of(config, len(rows)).steps_per_epoch
    # an epoch begins at its begin, also after data of another size
    first = -(-step // steps_per_epoch) * steps_per_epoch
    steps = config.epochs * steps_per_epoch
    with one_thread(config.threads), ExitStack() as stack:
        pool = start_executor(stack, structure, config, rows, state, lambda text: None, steps, first)
        for _ in range(config.epochs):
            cost = weight = 0.0
            for record in pool.steps(pool.step + steps_per_epoch, factor()):
                cost += record.cost * record.weight
                weight += record.weight
            yield Epoch(cost / (weight or 1.0), pool.state(), pool.step)


def mean_cost(network: Network, rows: Rows) -> float:
    """Return the mean of the rows' costs, each times what it counts."""
    dtype = network.weights.dtype.name
    block = min(_ROWS_AT_ONCE, len(rows))
    backprop, gather = Backprop(network.structure, block, dtype), Gather(rows, block, dtype)
    layers = network.structure.layers(network.weights)
    cost = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(rows), block):
            x, y = gather(np.arange(start, min(start + block, len(rows))))
            cost += backprop.sums(layers, x, y, gather.weights).cost
    return cost / (len(rows) if rows.weights is None else float(rows.weights.sum(dtype=np.float64)) or 1.0)


def workers_for(n_jobs: int | None, shards: int) -> int:
    """Return the workers that ``n_jobs`` asks for: 0, this process alone, for None, 1, and wherever others work too.

    What scikit-learn runs in parallel by itself, such as the candidates of a grid search, uses the cores already; a fit
    within it starts no workers, so that there are never more threads than cores. The result is the same.
    """
    if n_jobs is None or _is_nested():
        return 0
    asked = n_jobs if n_jobs > 0 else max(1, cpu_count() + 1 + n_jobs)
    workers = min(asked, shards, cpu_count())
    return workers if workers > 1 else 0


def _is_nested() -> bool:
    """Return whether this is part of something that joblib runs in parallel."""
    joblib = sys.modules.get("joblib")
    if joblib is None:
        return False
    backend, _ = joblib.parallel.get_active_backend()
    return getattr(backend, "nesting_level", 0) > 0


class Patience:
    """Follows an estimator's costs or scores as scikit-learn does, and the step size with them."""

    def __init__(self, params: dict[str, Any]) -> None:
        self._params = params
        self._rate_factor = 1.0
        self.count = 0
        """Epochs in a row that were no better than the best by ``tol``."""

    def factor(self) -> float:
        """Return what the step size is multiplied by in the next epoch."""
        return self._rate_factor

    def see(self, is_better: bool, samples_seen: int) -> bool:
        """Take in an epoch; return whether it should be the last."""
        params = self._params
        self.count = 0 if is_better else self.count + 1
        schedule = params["learning_rate"] if params["solver"] == "sgd" else "constant"
        if schedule == "invscaling":
            self._rate_factor = 1.0 / (samples_seen + 1) ** params["power_t"]
        if self.count <= params["n_iter_no_change"]:
            return False
        if schedule == "adaptive" and self._rate_factor * params["learning_rate_init"] > _LEAST_RATE:
            self._rate_factor /= 5.0
            self.count = 0
            return False
        return True


def is_better(value: float, best: float, by: float) -> bool:
    """Return whether a cost is below the best one by at least so much; NaN is never better.

    >>> is_better(1.0, 2.0, 0.5), is_better(1.6, 2.0, 0.5), is_better(1.0, math.inf, 0.5)
    (True, False, True)
    """
    return value <= best - by if math.isfinite(best) else not math.isnan(value)
