"""Backpropagation through a layered, fully connected network, in the lecture's notation.

Examples are rows: ``a`` of layer l has shape (rows, m_l). With a^0 = x, for l = 1..L and from right to left::

    z^l     = a^{l-1} (w^l)^T + b^l          a^l = sigma(z^l)                the forward pass
    delta^L = dC/da^L * sigma'(z^L)                                          base case
    delta^l = (delta^{l+1} w^{l+1}) * sigma'(z^l)                            induction step
    dC/dw^l = (delta^l)^T a^{l-1}            dC/db^l = sum of delta^l's rows

``*`` is elementwise. Both gradients are SUMS over the rows, never means. Source: lecture 22, slides 9 to 13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from distbp.nn.structure import Array, Layer, Structure


class Sums(NamedTuple):
    """Sums over the rows of one call."""

    cost: float
    """Sum of the rows' costs, each times the row's weight."""
    right: int
    """Number of correctly classified rows; 0 for regression targets."""


@dataclass(frozen=True)
class Workspace:
    """The arrays of one forward and backward pass. Index 0 is layer 1; two entries may share a buffer."""

    z: tuple[Array, ...]
    a: tuple[Array, ...]
    delta: tuple[Array, ...]
    scratch: tuple[Array, ...]
    masked: tuple[Array, ...] = ()
    """Each hidden a^l times its dropout mask; empty without dropout."""


class Backprop:
    """Forward and backward pass over up to ``rows`` examples at a time, in preallocated arrays.

    A hidden layer's a^l overwrites its z^l unless the derivative needs z^l, and is overwritten in turn by the backward
    pass. ``keep_z`` keeps every z^l and a^l; the results are the same bits. ``smoothing`` is the share of each target
    that label smoothing spreads over all classes.
    """

    def __init__(
        self,
        structure: Structure,
        rows: int,
        dtype: str,
        keep_z: bool = False,
        dropout: bool = False,
        smoothing: float = 0.0,
    ) -> None:
        self.structure = structure
        self.dtype = np.dtype(dtype)
        self._rows = rows
        self._activations = structure.sigmas
        self._cost = structure.cost_function
        self._smoothing = smoothing

        def buffers() -> tuple[Array, ...]:
            return tuple(np.empty((rows, m), self.dtype) for m in structure.sizes[1:])

        z = buffers()
        a = tuple(
            np.empty_like(each) if keep_z or sigma.needs_z or each is z[-1] else each
            for each, sigma in zip(z, self._activations, strict=True)
        )
        # The derivative is the last reader of a hidden a^l, and may overwrite it.
        scratch = buffers() if keep_z else (*a[:-1], np.empty_like(z[-1]))
        self._whole = Workspace(z, a, buffers(), scratch, buffers()[:-1] if dropout else ())
        self._ones = np.ones(rows, self.dtype)
        self._views: dict[int, Workspace] = {}

    def workspace(self, rows: int) -> Workspace:
        """Return views of the arrays for exactly ``rows`` examples; a run uses only a few sizes."""
        if rows not in self._views:
            if rows > self._rows:
                raise ValueError(f"built for {self._rows} rows, got {rows}")
            whole = (self._whole.z, self._whole.a, self._whole.delta, self._whole.scratch, self._whole.masked)
            self._views[rows] = Workspace(*(tuple(x[:rows] for x in part) for part in whole))
        return self._views[rows]

    def forward(self, layers: Sequence[Layer], x: Array) -> Workspace:
        """Run the forward pass; return z and a of every layer, valid until the next call."""
        work = self._logits(layers, x)
        self._activations[-1].apply(work.z[-1], out=work.a[-1])
        return work

    def _logits(self, layers: Sequence[Layer], x: Array, masks: Sequence[Array] = ()) -> Workspace:
        """Run the forward pass up to z^L. With dropout, multiply each hidden a^l by its mask."""
        work = self.workspace(len(x))
        a_prev = x
        last = self.structure.depth - 1
        for l, (w, b) in enumerate(layers):
            z = work.z[l]
            np.matmul(a_prev, w.T, out=z)
            np.add(z, b, out=z)
            if l < last:
                a_prev = work.a[l]
                self._activations[l].apply(z, out=a_prev)
                if masks:
                    a_prev = np.multiply(a_prev, masks[l], out=work.masked[l])
        return work

    def gradient(
        self,
        layers: Sequence[Layer],
        x: Array,
        y: Array,
        out: Sequence[Layer],
        masks: Sequence[Array] = (),
        weights: Array | None = None,
        done: Callable[[int, Array, Array], None] | None = None,
    ) -> Sums:
        """Write the gradient's sum over the rows into ``out``; return the sums of costs and correct rows.

        ``layers`` and ``out`` are :meth:`Structure.layers` of two flat vectors; ``x`` has shape (rows, m_0). ``masks``
        are the dropout masks of the hidden layers, each of shape (rows, m_l). ``weights`` are the rows' weights, shape
        (rows,); None means 1 each. ``done(l, delta^l, a^{l-1})`` is called, last layer first, once the gradient of
        layer l (counted from 0) is complete.
        """
        work = self._logits(layers, x, masks)
        sums = self._base_case(work, y, weights, self._smoothing)
        inputs = work.masked if masks else work.a
        ones = self._ones[: len(x)]
        for l in reversed(range(self.structure.depth)):
            delta = work.delta[l]
            a_prev = inputs[l - 1] if l else x
            layer_gradient(delta, a_prev, ones, *out[l])
            if done is not None:
                done(l, delta, a_prev)
            if l:  # the induction step
                np.matmul(delta, layers[l].w, out=work.delta[l - 1])
                if masks:
                    np.multiply(work.delta[l - 1], masks[l - 1], out=work.delta[l - 1])
                before = l - 1
                self._activations[before].times_derivative(
                    work.delta[before], work.a[before], work.z[before], work.scratch[before]
                )
        return sums

    def sums(self, layers: Sequence[Layer], x: Array, y: Array, weights: Array | None = None) -> Sums:
        """Return the sums of costs and correct rows. Overwrites the last layer's ``delta``."""
        return self._base_case(self._logits(layers, x), y, weights)

    def _base_case(self, work: Workspace, y: Array, weights: Array | None, smoothing: float = 0.0) -> Sums:
        """Write delta^L, each row times its weight; return the sums."""
        delta = work.delta[-1]
        costs, right = self._cost.base_case(
            self._activations[-1], work.z[-1], work.a[-1], y, delta, work.scratch[-1], smoothing
        )
        if weights is None:
            return Sums(float(costs.sum(dtype=np.float64)), right)
        np.multiply(delta, weights[:, np.newaxis], out=delta)
        return Sums(float(np.dot(costs.astype(np.float64), weights)), right)

    def first_nonfinite_layer(self, layers: Sequence[Layer], x: Array) -> int:
        """Return the first layer whose output is not finite for these rows; L if every output is."""
        work = self._logits(layers, x)
        for l, a in enumerate((*work.a[:-1], work.z[-1]), start=1):
            if not np.isfinite(a).all():
                return l
        return self.structure.depth


def layer_gradient(delta: Array, a_prev: Array, ones: Array, w: Array, b: Array) -> None:
    """Write dC/dw^l and dC/db^l, summed over the rows, into ``w`` and ``b``. ``ones`` is 1 for each row."""
    np.matmul(delta.T, a_prev, out=w)
    np.matmul(ones, delta, out=b)
