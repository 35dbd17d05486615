"""Optimizers as pure functions on flat vectors: old state and mean gradient in, new state out.

The state of n parameters is one array of shape (1 + number of slots, n): the weights in row 0, then the optimizer's
own vectors. All arithmetic is elementwise, so any part of the columns may be updated by itself, in any order and by
anybody, and gives the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Optimizer(Protocol):
    """Makes the state after a step from the state before it."""

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the state's rows after row 0."""

    def update(self, old: Array, new: Array, gradient: Array, step: int, lr: float, scratch: Array) -> None:
        """Write the state after step number ``step`` (counted from 0) into ``new``.

        ``gradient`` is the MEAN over the mini-batch. ``old`` is not changed; ``gradient`` and ``scratch``, both of
        shape (n,), may be.
        """


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013, eqs. 1 to 4).

    velocity <- momentum * velocity - lr * gradient; then w <- w + velocity, or with ``nesterov``
    w <- w + momentum * velocity - lr * gradient, the look-ahead in the same place.

    >>> old, new = np.array([[1.0], [0.5]]), np.empty((2, 1))
    >>> SGD(momentum=0.9).update(old, new, np.array([2.0]), 0, 0.1, np.empty(1))
    >>> new.round(6).tolist()  # velocity 0.9 * 0.5 - 0.1 * 2
    [[1.25], [0.25]]
    """

    momentum: float = 0.0
    nesterov: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        """The velocity, if there is momentum."""
        return ("velocity",) if self.momentum else ()

    def update(self, old: Array, new: Array, gradient: Array, step: int, lr: float, scratch: Array) -> None:
        """Write the state after this step into ``new``."""
        np.multiply(gradient, lr, out=gradient)
        if not self.momentum:
            np.subtract(old[0], gradient, out=new[0])
            return
        np.multiply(old[1], self.momentum, out=new[1])
        np.subtract(new[1], gradient, out=new[1])
        if self.nesterov:
            np.multiply(new[1], self.momentum, out=scratch)
            np.subtract(scratch, gradient, out=scratch)
            np.add(old[0], scratch, out=new[0])
        else:
            np.add(old[0], new[1], out=new[0])


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1), with the bias corrections taken out of the vectors.

    >>> old, new = np.zeros((3, 1)), np.empty((3, 1))
    >>> Adam().update(old, new, np.array([5.0]), 0, 0.001, np.empty(1))
    >>> new[0].round(6).tolist()  # the first step is lr, whatever the gradient's size
    [-0.001]
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def slots(self) -> tuple[str, ...]:
        """Running means of the gradient and of its square."""
        return ("mean", "square")

    def update(self, old: Array, new: Array, gradient: Array, step: int, lr: float, scratch: Array) -> None:
        """Write the state after this step into ``new``."""
        correction1 = 1.0 - self.beta1 ** (step + 1)
        correction2 = math.sqrt(1.0 - self.beta2 ** (step + 1))
        np.multiply(old[1], self.beta1, out=new[1])
        np.multiply(gradient, 1.0 - self.beta1, out=scratch)
        np.add(new[1], scratch, out=new[1])
        np.multiply(old[2], self.beta2, out=new[2])
        np.multiply(gradient, gradient, out=scratch)
        np.multiply(scratch, 1.0 - self.beta2, out=scratch)
        np.add(new[2], scratch, out=new[2])
        np.sqrt(new[2], out=scratch)
        np.multiply(scratch, 1.0 / correction2, out=scratch)
        np.add(scratch, self.epsilon, out=scratch)
        np.divide(new[1], scratch, out=scratch)
        np.multiply(scratch, lr / correction1, out=scratch)
        np.subtract(old[0], scratch, out=new[0])


def make_optimizer(name: str, momentum: float | None, nesterov: bool) -> Optimizer:
    """Return the optimizer of that name (one of ``distbp.config.CHOICES``)."""
    if name == "adam":
        return Adam()
    return SGD(momentum or 0.0, nesterov)
