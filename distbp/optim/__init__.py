"""Optimizers, schedules and the update rule, on NumPy alone; callers pass all state in and out as flat vectors."""

from distbp.optim.optimizers import SGD, Adagrad, Adam, Lion, Optimizer, RMSProp
from distbp.optim.rule import Rule, check_custom_rule, optimizer_of, schedule_of
from distbp.optim.schedules import Schedule

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "Lion",
    "Optimizer",
    "RMSProp",
    "Rule",
    "Schedule",
    "check_custom_rule",
    "optimizer_of",
    "schedule_of",
]
