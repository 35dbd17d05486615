"""Activations sigma and their derivatives sigma', each computed from a = sigma(z) where possible.

Both methods write into existing arrays: ``apply`` accepts z itself as ``out`` unless the derivative needs z, and
``times_derivative`` changes delta in place. The derivatives are the lecture's, e.g. for the sigmoid
sigma'(u) = sigma(u) (1 - sigma(u)).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from distbp.nn.custom import ActivationAdapter

Array = NDArray[Any]


class Activation(Protocol):
    """sigma and sigma' on arrays of shape (rows, m_l)."""

    @property
    def needs_z(self) -> bool:
        """Whether sigma' needs z because it cannot be computed from a."""

    @property
    def is_monotonic(self) -> bool:
        """Whether sigma never decreases, so that the largest z gives the largest a."""

    def apply(self, z: Array, out: Array) -> None:
        """Write a = sigma(z) into ``out``, which may be z."""

    def times_derivative(self, delta: Array, a: Array, z: Array, scratch: Array) -> None:
        """Multiply dC/da, which ``delta`` holds, by sigma'(z) in place.

        ``scratch`` has the shape and dtype of ``delta``; in a hidden layer it may be ``a`` itself. ``z`` is valid only
        if ``needs_z`` is true.
        """


class Sigmoid:
    """sigma(u) = 1 / (1 + e^-u), accurate to the last bits even close to 0."""

    needs_z = False
    is_monotonic = True

    def apply(self, z: Array, out: Array) -> None:
        """Write 1 / (1 + e^-z) into ``out``."""
        np.negative(z, out=out)
        # float32 overflows above e^88 (float64 above e^709), and sigma rounds to 0 long before that
        np.minimum(out, 80.0 if out.dtype == np.float32 else 700.0, out=out)
        np.exp(out, out=out)
        np.add(out, 1.0, out=out)
        np.reciprocal(out, out=out)

    def times_derivative(self, delta: Array, a: Array, z: Array, scratch: Array) -> None:
        """Multiply by a (1 - a)."""
        np.multiply(delta, a, out=delta)
        np.subtract(1.0, a, out=scratch)
        np.multiply(delta, scratch, out=delta)


class Tanh:
    """sigma(u) = tanh u."""

    needs_z = False
    is_monotonic = True

    def apply(self, z: Array, out: Array) -> None:
        """Write tanh z into ``out``."""
        np.tanh(z, out=out)

    def times_derivative(self, delta: Array, a: Array, z: Array, scratch: Array) -> None:
        """Multiply by 1 - a^2."""
        np.multiply(a, a, out=scratch)
        np.subtract(1.0, scratch, out=scratch)
        np.multiply(delta, scratch, out=delta)


class Relu:
    """sigma(u) = max(u, 0), with sigma'(0) = 0."""

    needs_z = False
    is_monotonic = True

    def apply(self, z: Array, out: Array) -> None:
        """Write max(z, 0) into ``out``."""
        np.maximum(z, 0.0, out=out)

    def times_derivative(self, delta: Array, a: Array, z: Array, scratch: Array) -> None:
        """Multiply by 1 where a > 0, else by 0."""
        np.greater(a, 0.0, out=scratch, casting="unsafe")
        np.multiply(delta, scratch, out=delta)


@dataclass(frozen=True)
class LeakyRelu:
    """sigma(u) = u where u > 0, else slope u (Maas et al. 2013)."""

    slope: float = 0.01
    needs_z = False
    is_monotonic = True

    def apply(self, z: Array, out: Array) -> None:
        """Write z where z > 0, else slope z, into ``out``."""
        positive = z > 0.0
        np.multiply(z, np.where(positive, 1.0, self.slope).astype(z.dtype, copy=False), out=out)

    def times_derivative(self, delta: Array, a: Array, z: Array, scratch: Array) -> None:
        """Multiply by 1 where a > 0, else by the slope."""
        np.greater(a, 0.0, out=scratch, casting="unsafe")
        np.multiply(scratch, 1.0 - self.slope, out=scratch)
        np.add(scratch, self.slope, out=scratch)
        np.multiply(delta, scratch, out=delta)


class Elu:
    """sigma(u) = u where u > 0, else e^u - 1 (Clevert et al. 2016)."""

    needs_z = False
    is_monotonic = True

    def apply(self, z: Array, out: Array) -> None:
        """Write z where z > 0, else e^z - 1, into ``out``."""
        below = np.expm1(np.minimum(z, 0.0))
        np.maximum(z, 0.0, out=out)
        np.add(out, below, out=out)

    def times_derivative(self, delta: Array, a: Array, z: Array, scratch: Array) -> None:
        """Multiply by 1 where a > 0, else by a + 1, which is e^z."""
        np.minimum(a, 0.0, out=scratch)
        np.add(scratch, 1.0, out=scratch)
        np.multiply(delta, scratch, out=delta)


class Softplus:
    """sigma(u) = log(1 + e^u), a smooth relu; sigma' is the sigmoid."""

    needs_z = False
    is_monotonic = True

    def apply(self, z: Array, out: Array) -> None:
        """Write max(z, 0) + log(1 + e^-|z|) into ``out``; this form cannot overflow."""
        rest = np.log1p(np.exp(-np.abs(z)))
        np.maximum(z, 0.0, out=out)
        np.add(out, rest, out=out)

    def times_derivative(self, delta: Array, a: Array, z: Array, scratch: Array) -> None:
        """Multiply by 1 - e^-a."""
        np.negative(a, out=scratch)
        np.expm1(scratch, out=scratch)
        np.multiply(delta, scratch, out=delta)
        np.negative(delta, out=delta)


class Gelu:
    """sigma(u) = u Phi(u) in its tanh form (Hendrycks and Gimpel 2016): u/2 (1 + tanh(c (u + 0.044715 u^3)))."""

    needs_z = True
    is_monotonic = False
    _C, _CUBE = math.sqrt(2.0 / math.pi), 0.044715

    def apply(self, z: Array, out: Array) -> None:
        """Write u/2 (1 + tanh v) into ``out``."""
        np.copyto(out, 0.5 * z * (1.0 + self._tanh(z)))

    def times_derivative(self, delta: Array, a: Array, z: Array, scratch: Array) -> None:
        """Multiply by (1 + tanh v)/2 + u/2 (1 - tanh^2 v) v'."""
        t = self._tanh(z)
        slope = 0.5 * (1.0 + t) + 0.5 * z * (1.0 - t * t) * (self._C * (1.0 + 3.0 * self._CUBE * z * z))
        np.multiply(delta, slope, out=delta)

    def _tanh(self, z: Array) -> Array:
        t: Array = np.tanh(self._C * (z + self._CUBE * z * z * z))
        return t


class Swish:
    """sigma(u) = u / (1 + e^-u) (Ramachandran et al. 2017), also called SiLU."""

    needs_z = True
    is_monotonic = False

    def apply(self, z: Array, out: Array) -> None:
        """Write z times the sigmoid of z into ``out``."""
        s = np.empty_like(z)
        _SIGMOID.apply(z, out=s)
        np.multiply(z, s, out=out)

    def times_derivative(self, delta: Array, a: Array, z: Array, scratch: Array) -> None:
        """Multiply by s + z s (1 - s) = s + a (1 - s)."""
        s = np.empty_like(z)
        _SIGMOID.apply(z, out=s)
        np.multiply(delta, s + a * (1.0 - s), out=delta)


class Identity:
    """sigma(u) = u."""

    needs_z = False
    is_monotonic = True

    def apply(self, z: Array, out: Array) -> None:
        """Write z into ``out``."""
        if out is not z:
            np.copyto(out, z)

    def times_derivative(self, delta: Array, a: Array, z: Array, scratch: Array) -> None:
        """Do nothing: sigma' is 1."""


class Softmax:
    """a_k = e^{z_k} / sum_i e^{z_i} over the nodes of the output layer, shifted by max z so that nothing overflows."""

    needs_z = False
    is_monotonic = True

    def apply(self, z: Array, out: Array) -> None:
        """Write the softmax of each row into ``out``."""
        np.subtract(z, z.max(axis=1, keepdims=True), out=out)
        np.exp(out, out=out)
        np.divide(out, out.sum(axis=1, keepdims=True), out=out)

    def times_derivative(self, delta: Array, a: Array, z: Array, scratch: Array) -> None:
        """Multiply by the Jacobian, since every z_i changes every a_k: a_k (dC/da_k - sum_i a_i dC/da_i)."""
        np.multiply(delta, a, out=scratch)
        np.subtract(delta, scratch.sum(axis=1, keepdims=True), out=delta)
        np.multiply(delta, a, out=delta)


_SIGMOID = Sigmoid()

ACTIVATIONS: Mapping[str, Activation] = {
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "relu": Relu(),
    "leaky-relu": LeakyRelu(),
    "elu": Elu(),
    "gelu": Gelu(),
    "softplus": Softplus(),
    "swish": Swish(),
    "identity": Identity(),
    "softmax": Softmax(),
}
"""Activations by name."""


def activation_of(part: Any) -> Activation:
    """Return the activation with this name, or an adapter for a custom one."""
    return ACTIVATIONS[part] if isinstance(part, str) else ActivationAdapter(part)
