"""Custom activations and costs: what a user implements, and how it is checked and adapted to backpropagation."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from distbp.config import name_of
from distbp.errors import UsageError

Array = NDArray[Any]


class CustomActivation(Protocol):
    """The methods of a custom activation, both elementwise on z of shape (rows, m_l).

    >>> class Sine:
    ...     def value(self, z): return np.sin(z)
    ...     def derivative(self, z): return np.cos(z)
    >>> import distbp
    >>> distbp.gradcheck((4, 5, 3), activation=Sine()).worst < 1e-6
    True
    """

    def value(self, z: Array) -> Array:
        """Return sigma(z)."""

    def derivative(self, z: Array) -> Array:
        """Return sigma'(z)."""


class CustomCost(Protocol):
    """The methods of a custom cost on a and y of shape (rows, m_L); classes are one-hot rows.

    >>> class Quartic:
    ...     def value(self, a, y): return ((a - y) ** 4).sum(axis=1)
    ...     def derivative(self, a, y): return 4 * (a - y) ** 3
    >>> import distbp
    >>> distbp.gradcheck((4, 5, 3), output="identity", cost=Quartic()).worst < 1e-6
    True
    """

    def value(self, a: Array, y: Array) -> Array:
        """Return C of each row, shape (rows,)."""

    def derivative(self, a: Array, y: Array) -> Array:
        """Return dC/da, shape (rows, m_L)."""


class ActivationAdapter:
    """Adapts a :class:`CustomActivation` to :class:`distbp.nn.activations.Activation`."""

    needs_z = True
    is_monotonic = False

    def __init__(self, part: CustomActivation) -> None:
        self._part = part

    def apply(self, z: Array, out: Array) -> None:
        """Write sigma(z) into ``out``."""
        np.copyto(out, self._part.value(z), casting="same_kind")

    def times_derivative(self, delta: Array, a: Array, z: Array, scratch: Array) -> None:
        """Multiply by sigma'(z)."""
        np.multiply(delta, self._part.derivative(z), out=delta, casting="same_kind")


def check_custom_activation(part: CustomActivation, dtype: str) -> None:
    """Call a custom activation on three rows of two nodes and check the shapes that it returns.

    Errors raised by the user's code propagate unchanged.

    Raises:
        UsageError: a returned shape is wrong.
    """
    z = np.linspace(-2.0, 2.0, 6, dtype=dtype).reshape(3, 2)
    for name in ("value", "derivative"):
        _check_shape(part, name, getattr(part, name)(z), (3, 2))


def check_custom_cost(part: CustomCost, nodes: int, dtype: str) -> None:
    """Call a custom cost on three rows and check the shapes that it returns.

    Raises:
        UsageError: a returned shape is wrong.
    """
    a, y = np.full((3, nodes), 0.5, dtype), np.zeros((3, nodes), dtype)
    _check_shape(part, "value", part.value(a, y), (3,))
    _check_shape(part, "derivative", part.derivative(a, y), (3, nodes))


def _check_shape(part: object, name: str, found: Any, expected: tuple[int, ...]) -> None:
    if np.shape(found) != expected:
        raise UsageError(f"{name_of(part)}.{name} returned the shape {np.shape(found)}, expected {expected}")
