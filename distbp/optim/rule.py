"""The whole rule by which a mean gradient changes the weights, as the settings describe it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from distbp.config import Settings, name_of
from distbp.errors import UsageError
from distbp.optim.optimizers import SGD, Adagrad, Adam, Lion, Optimizer, RMSProp
from distbp.optim.schedules import SCHEDULES, Schedule, WarmUp


def optimizer_of(config: Settings) -> Optimizer:
    """Return the optimizer of these settings."""
    if not isinstance(config.optimizer, str):
        own: Optimizer = config.optimizer
        return own
    decay = config.weight_decay or 0.0
    known: dict[str, Optimizer] = {
        "sgd": SGD(config.momentum or 0.0, config.nesterov),
        "adagrad": Adagrad(),
        "rmsprop": RMSProp(),
        "adam": Adam(),
        "adamw": Adam(weight_decay=decay),
        "lion": Lion(weight_decay=decay),
    }
    return known[config.optimizer]


def schedule_of(config: Settings) -> Schedule:
    """Return the schedule of these settings, with its warm-up."""
    schedule: Schedule = SCHEDULES[config.schedule] if isinstance(config.schedule, str) else config.schedule
    return WarmUp(config.warmup, schedule) if config.warmup else schedule


@dataclass(frozen=True)
class Rule:
    """What happens to a mean gradient: penalties are added, it is clipped, the optimizer takes its step.

    With C the mean of the examples' costs, what is made small is C + l1 sum |w| + l2/2 sum w^2 over all w^l, not b^l.
    """

    optimizer: Optimizer
    lr: float
    schedule: Schedule
    steps: int
    """Steps of the whole run."""
    l1: float = 0.0
    l2: float = 0.0
    clip_value: float | None = None
    """No number of the gradient is further from 0 than this."""
    clip_norm: float | None = None
    """The gradient of all layers together is made shorter where it is longer than this (Pascanu et al. 2013)."""
    max_norm: float | None = None
    """After the step no node's incoming weights are longer than this (Srivastava et al. 2014)."""

    @classmethod
    def of(cls, config: Settings, steps_per_epoch: int) -> Rule:
        """Return the rule of these settings."""
        assert config.lr is not None
        return cls(
            optimizer_of(config), config.lr, schedule_of(config), config.epochs * steps_per_epoch,
            config.l1, config.l2, config.clip_value, config.clip_norm, config.max_norm,
        )  # fmt: skip

    def rate(self, step: int) -> float:
        """Return the step size of a step."""
        return self.lr * self.schedule.factor(step, self.steps)


def check_custom_rule(config: Settings, steps: int) -> None:
    """Refuse an optimizer or a schedule of the user's own that cannot do its work; both are tried once.

    What the user's own code raises goes through as it is.

    Raises:
        UsageError: they cannot.
    """
    schedule, optimizer = config.schedule, config.optimizer
    if not isinstance(schedule, str):
        factor = schedule.factor(0, steps)
        if not isinstance(factor, int | float | np.floating) or not math.isfinite(factor):
            raise UsageError(f"{name_of(schedule)}.factor returned {factor!r}, expected a finite number")
    if isinstance(optimizer, str):
        return
    slots = optimizer.slots
    if not isinstance(slots, tuple | list) or not all(isinstance(slot, str) for slot in slots):
        raise UsageError(f"{name_of(optimizer)}.slots must be a tuple of names, found {slots!r}")
    old, new = np.zeros((1 + len(slots), 3), config.dtype), np.full((1 + len(slots), 3), np.nan, config.dtype)
    optimizer.update(old, new, np.ones(3, config.dtype), 0, config.lr, np.empty(3, config.dtype))
    if not np.isfinite(new).all():
        raise UsageError(f"{name_of(optimizer)}.update must write every row of new: weights and {len(slots)} slots")
