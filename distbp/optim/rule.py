"""The update rule: how a mean gradient changes the weights, according to the settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from distbp.config import Settings, name_of
from distbp.errors import UsageError
from distbp.optim.optimizers import SGD, Adagrad, Adam, Lion, Optimizer, RMSProp
from distbp.optim.schedules import SCHEDULES, Schedule, WarmUp


def optimizer_of(config: Settings) -> Optimizer:
    """Return the optimizer that the settings name or contain."""
    if not isinstance(config.optimizer, str):
        custom: Optimizer = config.optimizer
        return custom
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
    """Return the schedule that the settings name or contain, preceded by the warm-up."""
    schedule: Schedule = SCHEDULES[config.schedule] if isinstance(config.schedule, str) else config.schedule
    return WarmUp(config.warmup, schedule) if config.warmup else schedule


@dataclass(frozen=True)
class Rule:
    """The update of a step: add the penalties to the mean gradient, clip it, apply the optimizer, limit the norms.

    With C the mean of the examples' costs, training minimizes C + l1 sum |w| + l2/2 sum w^2 over all w^l, without b^l.
    """

    optimizer: Optimizer
    lr: float
    schedule: Schedule
    steps: int
    """Number of steps in the whole run."""
    l1: float = 0.0
    l2: float = 0.0
    clip_value: float | None = None
    """Each gradient element is clipped to [-clip_value, clip_value]."""
    clip_norm: float | None = None
    """A gradient of all layers with a larger norm is scaled down to this norm (Pascanu et al. 2013)."""
    max_norm: float | None = None
    """Largest norm of a node's incoming weights after the step (Srivastava et al. 2014)."""

    @classmethod
    def of(cls, config: Settings, steps_per_epoch: int) -> Rule:
        """Return the rule that the settings describe."""
        return cls(
            optimizer=optimizer_of(config),
            lr=config.lr,
            schedule=schedule_of(config),
            steps=config.epochs * steps_per_epoch,
            l1=config.l1,
            l2=config.l2,
            clip_value=config.clip_value,
            clip_norm=config.clip_norm,
            max_norm=config.max_norm,
        )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return self.lr * self.schedule.factor(step, self.steps)


def check_custom_rule(config: Settings, steps: int) -> None:
    """Call a custom optimizer and a custom schedule once and check their results.

    Errors raised by the user's code propagate unchanged.

    Raises:
        UsageError: a result has the wrong form.
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
