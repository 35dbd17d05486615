"""Activations sigma and their derivatives sigma', each written in terms of a = sigma(z) where that is possible.

Both functions write into arrays that exist already: ``apply`` may be given z itself as ``out``, and
``times_derivative`` changes delta in place. The derivatives are the lecture's, e.g. for the sigmoid
sigma'(u) = sigma(u) (1 - sigma(u)).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Activation(Protocol):
    """sigma and sigma' on arrays of shape (rows, m_l)."""

    @property
    def half(self) -> float:
        """The z at which a = 1/2, where a single output node goes from the first of two classes to the second."""

    def apply(self, z: Array, out: Array) -> None:
        """Write a = sigma(z) into ``out``, which may be z."""

    def times_derivative(self, delta: Array, a: Array, scratch: Array) -> None:
        """Multiply dC/da, given in ``delta``, by sigma'(z) in place.

        ``scratch`` has delta's shape and type; in a hidden layer it may be ``a`` itself.
        """


class Sigmoid:
    """sigma(u) = 1 / (1 + e^-u), accurate to the last bits also where it is nearly 0."""

    half = 0.0

    def apply(self, z: Array, out: Array) -> None:
        """Write 1 / (1 + e^-z) into ``out``."""
        np.negative(z, out=out)
        # e^88 is the largest that float32 holds (e^709 in float64); sigma is 0 there in any case
        np.minimum(out, 80.0 if out.dtype == np.float32 else 700.0, out=out)
        np.exp(out, out=out)
        np.add(out, 1.0, out=out)
        np.reciprocal(out, out=out)

    def times_derivative(self, delta: Array, a: Array, scratch: Array) -> None:
        """Multiply by a (1 - a)."""
        np.multiply(delta, a, out=delta)
        np.subtract(1.0, a, out=scratch)
        np.multiply(delta, scratch, out=delta)


class Tanh:
    """sigma(u) = tanh u."""

    half = math.atanh(0.5)

    def apply(self, z: Array, out: Array) -> None:
        """Write tanh z into ``out``."""
        np.tanh(z, out=out)

    def times_derivative(self, delta: Array, a: Array, scratch: Array) -> None:
        """Multiply by 1 - a^2."""
        np.multiply(a, a, out=scratch)
        np.subtract(1.0, scratch, out=scratch)
        np.multiply(delta, scratch, out=delta)


class Relu:
    """sigma(u) = max(u, 0), with sigma'(0) = 0."""

    half = 0.5

    def apply(self, z: Array, out: Array) -> None:
        """Write max(z, 0) into ``out``."""
        np.maximum(z, 0.0, out=out)

    def times_derivative(self, delta: Array, a: Array, scratch: Array) -> None:
        """Multiply by 1 where a > 0, else by 0."""
        np.greater(a, 0.0, out=scratch, casting="unsafe")
        np.multiply(delta, scratch, out=delta)


class Identity:
    """sigma(u) = u."""

    half = 0.5

    def apply(self, z: Array, out: Array) -> None:
        """Write z into ``out``."""
        if out is not z:
            np.copyto(out, z)

    def times_derivative(self, delta: Array, a: Array, scratch: Array) -> None:
        """Leave delta as it is."""


class Softmax:
    """a_k = e^{z_k} / sum_i e^{z_i} over the nodes of the output layer, shifted by max z so that nothing overflows."""

    half = 0.0

    def apply(self, z: Array, out: Array) -> None:
        """Write the softmax of each row into ``out``."""
        np.subtract(z, z.max(axis=1, keepdims=True), out=out)
        np.exp(out, out=out)
        np.divide(out, out.sum(axis=1, keepdims=True), out=out)

    def times_derivative(self, delta: Array, a: Array, scratch: Array) -> None:
        """Multiply by the Jacobian: a_k (dC/da_k - sum_i a_i dC/da_i), since every z_i moves every a_k."""
        np.multiply(delta, a, out=scratch)
        np.subtract(delta, scratch.sum(axis=1, keepdims=True), out=delta)
        np.multiply(delta, a, out=delta)


ACTIVATIONS: Mapping[str, Activation] = {
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "relu": Relu(),
    "identity": Identity(),
    "softmax": Softmax(),
}
"""Every activation by its name."""
