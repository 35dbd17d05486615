"""Decisions that follow from the epochs' costs: the best epoch, early stopping, and the learning rate on a plateau."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from distbp.data.dataset import Array
from distbp.optim.schedules import Plateau, Schedule, WarmUp

History = Sequence[Mapping[str, Any]]
"""Epoch records so far, as in metrics.jsonl: a cost that is not finite is None."""


class EarlyStopping:
    """Keeps the weights of the epoch with the lowest validation cost; without a patience it does nothing."""

    def __init__(self, patience: int | None, best_weights: Array | None = None) -> None:
        """``patience`` is the number of epochs without a lower cost after which training stops."""
        self._patience = patience
        self.best_weights = best_weights

    def new_best(self, history: History, weights: Array) -> Array | None:
        """Return a copy of the weights, and keep it, if the last epoch is the best so far."""
        if self._patience is None or best_epoch(history) != history[-1]["epoch"]:
            return None
        self.best_weights = weights.copy()
        return self.best_weights

    def is_over(self, history: History) -> bool:
        """Return whether the validation cost has not fallen for ``patience`` epochs."""
        return self._patience is not None and history[-1]["epoch"] - best_epoch(history) >= self._patience

    def result(self, history: History) -> Mapping[str, Any]:
        """Return the record of the epoch whose weights the run returns; empty if the disk has lost it."""
        if self.best_weights is None:
            return history[-1] if history else {}
        best = best_epoch(history)
        return next(record for record in history if record["epoch"] == best)


def best_epoch(history: History) -> int:
    """Return the number, from 1, of the first epoch with the lowest validation cost."""
    costs = [(record["validation_cost"], record["epoch"]) for record in history]
    best: int = min((math.inf if cost is None else cost, epoch) for cost, epoch in costs)[1]
    return best


def rate_factor(schedule: Schedule, history: History) -> float:
    """Return the factor by which a plateau schedule multiplies the learning rate of the next epoch.

    It is 1 for other schedules. The plateau follows the validation cost if there is one, else the training cost.
    """
    plateau = schedule.then if isinstance(schedule, WarmUp) else schedule
    if not isinstance(plateau, Plateau):
        return 1.0
    name = "validation_cost" if history and "validation_cost" in history[0] else "train_cost"
    return plateau.after([math.inf if record[name] is None else record[name] for record in history])
