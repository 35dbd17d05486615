"""What the epochs' costs decide: which epoch is the best, when to stop early, and the rate on a plateau."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from distbp.optim.schedules import Plateau, Schedule, WarmUp

History = Sequence[Mapping[str, Any]]
"""The records of the epochs so far, as metrics.jsonl has them: a cost that is not finite is None."""


def best_epoch(history: History) -> int:
    """Return the number, from 1, of the first epoch with the lowest validation cost."""
    costs = [(record["validation_cost"], record["epoch"]) for record in history]
    best: int = min((math.inf if cost is None else cost, epoch) for cost, epoch in costs)[1]
    return best


def is_best_long_ago(history: History, patience: int | None) -> bool:
    """Return whether the validation cost has not fallen for ``patience`` epochs; never without a patience."""
    return patience is not None and history[-1]["epoch"] - best_epoch(history) >= patience


def rate_factor(schedule: Schedule, history: History) -> float:
    """Return what the rate is multiplied by in the epoch after these, beside what depends on the step.

    It is 1 but for a plateau schedule, which follows the validation cost where there is one, else the training cost.
    """
    plateau = schedule.then if isinstance(schedule, WarmUp) else schedule
    if not isinstance(plateau, Plateau):
        return 1.0
    name = "validation_cost" if history and "validation_cost" in history[0] else "train_cost"
    return plateau.after([math.inf if record[name] is None else record[name] for record in history])
