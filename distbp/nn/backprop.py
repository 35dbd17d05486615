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
    """What the rows of one call add up to."""

    cost: float
    """Sum of the rows' costs, each times its weight."""
    right: int
    """Rows whose class the network gives; 0 where the targets are values."""


@dataclass(frozen=True)
class Workspace:
    """The arrays of one forward and backward pass, index 0 holding layer 1; a buffer may serve two of them."""

    z: tuple[Array, ...]
    a: tuple[Array, ...]
    delta: tuple[Array, ...]
    scratch: tuple[Array, ...]
    kept: tuple[Array, ...] = ()
    """Each hidden a^l with what was dropped taken out; only made for dropout."""


class Backprop:
    """Forward and backward pass over up to ``rows`` examples at a time, in arrays that are made once.

    With ``keep_z`` every z^l is kept beside its a^l; else a hidden layer's a^l overwrites its z^l, which the
    derivatives do not need (where one does, that layer keeps its z^l), and is overwritten itself on the way back. The
    results are the same bits. ``smoothing`` is the share of a class's target that is spread over all classes.
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
        # Once delta^l has come down to a hidden layer nobody needs its a^l, which makes room for the derivative.
        scratch = buffers() if keep_z else (*a[:-1], np.empty_like(z[-1]))
        self._whole = Workspace(z, a, buffers(), scratch, buffers()[:-1] if dropout else ())
        self._ones = np.ones(rows, self.dtype)
        self._cuts: dict[int, Workspace] = {}

    def workspace(self, rows: int) -> Workspace:
        """Return the arrays cut to exactly ``rows`` examples; a run has few sizes."""
        if rows not in self._cuts:
            if rows > self._rows:
                raise ValueError(f"built for {self._rows} rows, got {rows}")
            whole = (self._whole.z, self._whole.a, self._whole.delta, self._whole.scratch, self._whole.kept)
            self._cuts[rows] = Workspace(*(tuple(x[:rows] for x in part) for part in whole))
        return self._cuts[rows]

    def forward(self, layers: Sequence[Layer], x: Array) -> Workspace:
        """Run the network from left to right; return z and a of every layer (valid until the next call)."""
        work = self._logits(layers, x)
        self._activations[-1].apply(work.z[-1], out=work.a[-1])
        return work

    def _logits(self, layers: Sequence[Layer], x: Array, masks: Sequence[Array] = ()) -> Workspace:
        """Run the network up to z^L; each hidden a^l goes on times its mask, if there are masks."""
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
                    a_prev = np.multiply(a_prev, masks[l], out=work.kept[l])
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
        """Write the gradient's sum over the rows into ``out``; return the sums of cost and right answers.

        ``layers`` and ``out`` are :meth:`Structure.layers` of two flat vectors; ``x`` has shape (rows, m_0). With
        dropout ``masks`` holds for each hidden layer what its a^l is multiplied by, shape (rows, m_l). ``weights``
        says what each row counts, shape (rows,), None for 1. ``done`` is called with each layer l (counted from 0)
        whose gradient is there, its delta^l and its a^{l-1}, the last layer first.
        """
        work = self._logits(layers, x, masks)
        sums = self._base_case(work, y, weights, self._smoothing)
        inputs = work.kept if masks else work.a
        ones = self._ones[: len(x)]
        for l in reversed(range(self.structure.depth)):
            delta = work.delta[l]
            a_prev = inputs[l - 1] if l else x
            layer_gradient(delta, a_prev, ones, *out[l])
            if done is not None:
                done(l, delta, a_prev)
            if l:
                np.matmul(delta, layers[l].w, out=work.delta[l - 1])
                if masks:
                    np.multiply(work.delta[l - 1], masks[l - 1], out=work.delta[l - 1])
                before = l - 1
                self._activations[before].times_derivative(
                    work.delta[before], work.a[before], work.z[before], work.scratch[before]
                )
        return sums

    def sums(self, layers: Sequence[Layer], x: Array, y: Array, weights: Array | None = None) -> Sums:
        """Return the sums of cost and right answers over the rows; the last ``delta`` is overwritten."""
        return self._base_case(self._logits(layers, x), y, weights)

    def _base_case(self, work: Workspace, y: Array, weights: Array | None, smoothing: float = 0.0) -> Sums:
        """Write delta^L of rows that each count their weight."""
        delta = work.delta[-1]
        costs, right = self._cost.base_case(
            self._activations[-1], work.z[-1], work.a[-1], y, delta, work.scratch[-1], smoothing
        )
        if weights is None:
            return Sums(float(costs.sum(dtype=np.float64)), right)
        np.multiply(delta, weights[:, np.newaxis], out=delta)
        return Sums(float(np.dot(costs.astype(np.float64), weights)), right)

    def first_nonfinite_layer(self, layers: Sequence[Layer], x: Array) -> int:
        """Return the first layer whose output is not finite for these rows; L if none is."""
        work = self._logits(layers, x)
        for l, a in enumerate((*work.a[:-1], work.z[-1]), start=1):
            if not np.isfinite(a).all():
                return l
        return self.structure.depth


def layer_gradient(delta: Array, a_prev: Array, ones: Array, w: Array, b: Array) -> None:
    """Write dC/dw^l and dC/db^l, summed over the rows, into ``w`` and ``b``; ``ones`` has shape (rows,)."""
    np.matmul(delta.T, a_prev, out=w)
    np.matmul(ones, delta, out=b)
