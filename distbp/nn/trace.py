"""All values of backpropagation for some rows, under the lecture's names."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from distbp.nn.backprop import Backprop
from distbp.nn.structure import Array, Structure


class TracedLayer(NamedTuple):
    """The values of one layer l. Layer 0 is the input: it has only a, and its other arrays are empty."""

    z: Array
    """Shape (rows, m_l)."""
    a: Array
    """Shape (rows, m_l)."""
    delta: Array
    """dC/dz of each row's own cost, shape (rows, m_l)."""
    dc_dw: Array
    """Gradient of the total cost (the MEAN over the rows), shape (m_l, m_{l-1}); for one row, the lecture's dC/dw."""
    dc_db: Array
    """Gradient of the total cost with respect to b, shape (m_l,)."""


class Trace(NamedTuple):
    """The results of a forward and a backward pass; ``trace[l]`` is layer l."""

    cost: float
    """The total cost: the mean of the rows' costs."""
    layers: tuple[TracedLayer, ...]

    def __getitem__(self, l: int) -> TracedLayer:  # type: ignore[override]
        return self.layers[l]


def trace(structure: Structure, weights: Array, x: Array, y: Array) -> Trace:
    """Run a forward and a backward pass over the rows ``x`` with targets ``y``, both encoded as in training."""
    rows = len(x)
    backprop = Backprop(structure, rows, weights.dtype.name, keep_z=True)
    gradient = structure.parameters(np.empty_like(weights))
    sums = backprop.gradient(structure.layers(weights), x, y, gradient.layers)
    connections = structure.connection_vector(weights.dtype)
    if connections is not None:
        np.multiply(gradient.flat, connections, out=gradient.flat)
    np.divide(gradient.flat, rows, out=gradient.flat)
    work, empty = backprop.workspace(rows), np.empty(0, weights.dtype)
    deltas = [each.copy() for each in work.delta]
    # a cost that is fused with its activation does not store a^L
    structure.sigmas[-1].apply(work.z[-1], out=work.a[-1])
    layers = [TracedLayer(empty, x, empty, empty, empty)]
    layers += [
        TracedLayer(z, a, delta, layer.w, layer.b)
        for z, a, delta, layer in zip(work.z, work.a, deltas, gradient.layers, strict=True)
    ]
    return Trace(sums.cost / rows, tuple(layers))
