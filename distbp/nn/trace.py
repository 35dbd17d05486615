"""Everything that backpropagation computes for some rows, by the lecture's names."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from distbp.nn.backprop import Backprop
from distbp.nn.structure import Array, Structure


class TracedLayer(NamedTuple):
    """One layer l. Layer 0 is the input, which has a alone; its other arrays are empty."""

    z: Array
    """Shape (rows, m_l)."""
    a: Array
    """Shape (rows, m_l)."""
    delta: Array
    """dC/dz of each row's own cost, shape (rows, m_l)."""
    dc_dw: Array
    """Of the total cost, the MEAN of the rows' costs; shape (m_l, m_{l-1}). For one row it is the lecture's dC/dw."""
    dc_db: Array
    """The same for b, shape (m_l,)."""


class Trace(NamedTuple):
    """What a forward and a backward pass compute; ``trace[l]`` is layer l."""

    cost: float
    """The total cost."""
    layers: tuple[TracedLayer, ...]

    def __getitem__(self, l: int) -> TracedLayer:  # type: ignore[override]
        return self.layers[l]


def trace(structure: Structure, weights: Array, x: Array, y: Array) -> Trace:
    """Run forward and backward over the rows ``x`` with the targets ``y`` in the form of training."""
    rows = len(x)
    backprop = Backprop(structure, rows, weights.dtype.name, keep_z=True)
    gradient = structure.parameters(np.empty_like(weights))
    sums = backprop.gradient(structure.layers(weights), x, y, gradient.layers)
    connections = structure.connection_vector(weights.dtype)
    if connections is not None:
        np.multiply(gradient.flat, connections, out=gradient.flat)
    np.divide(gradient.flat, rows, out=gradient.flat)
    work, nothing = backprop.workspace(rows), np.empty(0, weights.dtype)
    deltas = [each.copy() for each in work.delta]
    # a cost that is fused with its activation leaves no a^L behind
    structure.sigmas[-1].apply(work.z[-1], out=work.a[-1])
    layers = [TracedLayer(nothing, x, nothing, nothing, nothing)]
    layers += [
        TracedLayer(z, a, delta, layer.w, layer.b)
        for z, a, delta, layer in zip(work.z, work.a, deltas, gradient.layers, strict=True)
    ]
    return Trace(sums.cost / rows, tuple(layers))
