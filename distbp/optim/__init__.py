"""How weights follow from a mean gradient. NumPy alone; all state is in flat vectors that are passed in and out."""

from distbp.optim.optimizers import SGD, Adam, Optimizer, make_optimizer

__all__ = ["SGD", "Adam", "Optimizer", "make_optimizer"]
