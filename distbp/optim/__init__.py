"""How weights follow from a mean gradient. NumPy alone; all state is in flat vectors that are passed in and out."""

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
