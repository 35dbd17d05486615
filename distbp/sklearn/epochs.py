"""The epochs of an estimator's fit, in this process or on workers, and the rule that ends them."""

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
"""Smallest step size that an adaptive schedule still reduces, as in scikit-learn."""


class Epoch(NamedTuple):
    """The result of an epoch."""

    cost: float
    """Mean cost of the examples during training, without the penalty."""
    state: Array
    """Weights and optimizer state, shape (1 + slots, parameters)."""
    step: int
    """Steps done."""


def run_epochs(
    structure: Structure, config: Settings, rows: Rows, state: Array, step: int, factor: Callable[[], float]
) -> Generator[Epoch, None, None]:
    """Run the epochs of ``config``, from ``step`` on; each multiplies the step size of the settings by ``factor()``."""
    steps_per_epoch = EpochOrder.of(config, len(rows)).steps_per_epoch
    # after data of another size, the next epoch still begins with its first step
    first = -(-step // steps_per_epoch) * steps_per_epoch
    steps = config.epochs * steps_per_epoch
    with one_thread(config.threads), ExitStack() as stack:
        executor = start_executor(stack, structure, config, rows, state, lambda text: None, steps, first)
        for _ in range(config.epochs):
            cost = weight = 0.0
            for record in executor.steps(executor.step + steps_per_epoch, factor()):
                cost += record.cost * record.weight
                weight += record.weight
            yield Epoch(cost / (weight or 1.0), executor.state(), executor.step)


def mean_cost(network: Network, rows: Rows) -> float:
    """Return the weighted mean cost of the rows."""
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
    """Return the number of workers for ``n_jobs``; 0 means training in this process.

    It is 0 for None and 1, and inside parallel work of scikit-learn, such as the candidates of a grid search: that uses
    the cores already, and with workers there would be more threads than cores. The result is the same.
    """
    if n_jobs is None or _is_nested():
        return 0
    wanted = n_jobs if n_jobs > 0 else max(1, cpu_count() + 1 + n_jobs)
    workers = min(wanted, shards, cpu_count())
    return workers if workers > 1 else 0


def _is_nested() -> bool:
    """Return whether joblib runs this code in parallel with other code."""
    joblib = sys.modules.get("joblib")
    if joblib is None:
        return False
    backend, _ = joblib.parallel.get_active_backend()
    return getattr(backend, "nesting_level", 0) > 0


class Patience:
    """Decides after each epoch, as scikit-learn does, whether the fit ends, and adapts the step size."""

    def __init__(self, params: dict[str, Any]) -> None:
        self._params = params
        self._rate_factor = 1.0
        self.count = 0
        """Consecutive epochs that did not improve on the best one by ``tol``."""

    def factor(self) -> float:
        """Return the factor of the step size in the next epoch."""
        return self._rate_factor

    def record(self, is_better: bool, samples_seen: int) -> bool:
        """Record an epoch; return whether it is the last."""
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
    """Return whether a cost is at least ``by`` below the best one; NaN is never better.

    >>> is_better(1.0, 2.0, 0.5), is_better(1.6, 2.0, 0.5), is_better(1.0, math.inf, 0.5)
    (True, False, True)
    """
    return value <= best - by if math.isfinite(best) else not math.isnan(value)
