"""Optimizers as pure functions on flat vectors: old state and mean gradient in, new state out.

The state of n parameters is one array of shape (1 + number of slots, n): the weights in row 0, then one row per slot.
All arithmetic is elementwise, so any range of columns can be updated separately, in any order and on any thread, with
the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@runtime_checkable
class Optimizer(Protocol):
    """Computes the state after a step from the state before it.

    Any object with these two members works as the ``optimizer`` of :func:`distbp.train`:

    >>> class SignDescent:
    ...     slots = ()
    ...     def update(self, old, new, gradient, step, lr, scratch):
    ...         np.sign(gradient, out=gradient)
    ...         np.multiply(gradient, lr, out=gradient)
    ...         np.subtract(old[0], gradient, out=new[0])
    >>> import distbp
    >>> result = distbp.train("digits", optimizer=SignDescent(), lr=0.002, workers=0, epochs=8)
    >>> result.summary["test_accuracy"] > 0.9
    True
    """

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the state's rows after row 0, which are initially 0."""

    def update(self, old: Array, new: Array, gradient: Array, step: int, lr: float, scratch: Array) -> None:
        """Write the state after step number ``step`` (counted from 0) into ``new``.

        ``gradient`` is the MEAN over the mini-batch. It and ``scratch``, both of shape (n,), may be overwritten;
        ``old`` must not change. The method is called for ranges of the parameters, from several threads at once.
        """


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013, eqs. 1 to 4).

    velocity <- momentum * velocity - lr * gradient; then w <- w + velocity, or with ``nesterov``
    w <- w + momentum * velocity - lr * gradient, which is the look-ahead.

    >>> old, new = np.array([[1.0], [0.5]]), np.empty((2, 1))
    >>> SGD(momentum=0.9).update(old, new, np.array([2.0]), 0, 0.1, np.empty(1))
    >>> new.round(6).tolist()  # velocity 0.9 * 0.5 - 0.1 * 2
    [[1.25], [0.25]]
    """

    momentum: float = 0.0
    nesterov: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        """The name of the velocity row; no name without momentum."""
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
class Adagrad:
    """Adagrad (Duchi et al. 2011): w <- w - lr * gradient / (sqrt(sum of squared gradients) + epsilon)."""

    epsilon: float = 1e-10
    slots = ("squares",)

    def update(self, old: Array, new: Array, gradient: Array, step: int, lr: float, scratch: Array) -> None:
        """Write the state after this step into ``new``."""
        np.multiply(gradient, gradient, out=scratch)
        np.add(old[1], scratch, out=new[1])
        _divide_by_root(new[1], gradient, self.epsilon, scratch)
        np.multiply(scratch, lr, out=scratch)
        np.subtract(old[0], scratch, out=new[0])


@dataclass(frozen=True)
class RMSProp:
    """RMSProp (Hinton 2012, lecture 6e): Adagrad with a decaying mean of the squares instead of their sum."""

    decay: float = 0.99
    epsilon: float = 1e-8
    slots = ("square",)

    def update(self, old: Array, new: Array, gradient: Array, step: int, lr: float, scratch: Array) -> None:
        """Write the state after this step into ``new``."""
        _running_mean_of_squares(old[1], new[1], gradient, self.decay, scratch)
        _divide_by_root(new[1], gradient, self.epsilon, scratch)
        np.multiply(scratch, lr, out=scratch)
        np.subtract(old[0], scratch, out=new[0])


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1), with the bias corrections applied to scalars.

    With ``weight_decay`` this is AdamW (Loshchilov and Hutter 2019, algorithm 2): every parameter is multiplied by
    1 - lr * weight_decay, independently of the gradient.

    >>> old, new = np.zeros((3, 1)), np.empty((3, 1))
    >>> Adam().update(old, new, np.array([5.0]), 0, 0.001, np.empty(1))
    >>> new[0].round(6).tolist()  # the first step is lr for any size of the gradient
    [-0.001]
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The running means of the gradient and of its square."""
        return ("mean", "square")

    def update(self, old: Array, new: Array, gradient: Array, step: int, lr: float, scratch: Array) -> None:
        """Write the state after this step into ``new``."""
        correction1 = 1.0 - self.beta1 ** (step + 1)
        correction2 = math.sqrt(1.0 - self.beta2 ** (step + 1))
        np.multiply(old[1], self.beta1, out=new[1])
        np.multiply(gradient, 1.0 - self.beta1, out=scratch)
        np.add(new[1], scratch, out=new[1])
        _running_mean_of_squares(old[2], new[2], gradient, self.beta2, scratch)
        np.sqrt(new[2], out=scratch)
        np.multiply(scratch, 1.0 / correction2, out=scratch)
        np.add(scratch, self.epsilon, out=scratch)
        np.divide(new[1], scratch, out=scratch)
        np.multiply(scratch, lr / correction1, out=scratch)
        _subtract_decayed(old[0], scratch, lr * self.weight_decay, new[0])


@dataclass(frozen=True)
class Lion:
    """Lion (Chen et al. 2023, algorithm 2): equal steps along the sign of an interpolated running mean.

    >>> old, new = np.zeros((2, 3)), np.empty((2, 3))
    >>> Lion().update(old, new, np.array([5.0, -0.1, 0.0]), 0, 0.5, np.empty(3))
    >>> new[0].tolist()
    [-0.5, 0.5, 0.0]
    """

    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0
    slots = ("mean",)

    def update(self, old: Array, new: Array, gradient: Array, step: int, lr: float, scratch: Array) -> None:
        """Write the state after this step into ``new``."""
        np.multiply(old[1], self.beta1, out=new[1])
        np.multiply(gradient, 1.0 - self.beta1, out=scratch)
        np.add(new[1], scratch, out=scratch)
        np.sign(scratch, out=scratch)
        np.multiply(scratch, lr, out=scratch)
        _subtract_decayed(old[0], scratch, lr * self.weight_decay, new[0])
        np.multiply(old[1], self.beta2, out=new[1])
        np.multiply(gradient, 1.0 - self.beta2, out=scratch)
        np.add(new[1], scratch, out=new[1])


def _running_mean_of_squares(old: Array, new: Array, gradient: Array, decay: float, scratch: Array) -> None:
    np.multiply(old, decay, out=new)
    np.multiply(gradient, gradient, out=scratch)
    np.multiply(scratch, 1.0 - decay, out=scratch)
    np.add(new, scratch, out=new)


def _divide_by_root(squares: Array, gradient: Array, epsilon: float, out: Array) -> None:
    np.sqrt(squares, out=out)
    np.add(out, epsilon, out=out)
    np.divide(gradient, out, out=out)


def _subtract_decayed(old: Array, change: Array, decay: float, new: Array) -> None:
    """Write old * (1 - decay) - change into ``new``."""
    if decay:
        np.multiply(old, 1.0 - decay, out=new)
        np.subtract(new, change, out=new)
    else:
        np.subtract(old, change, out=new)
