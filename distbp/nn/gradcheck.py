"""Gradient checking: compares backpropagation with central differences, parameter by parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from distbp.nn.backprop import Backprop
from distbp.nn.structure import Array, Layer, Structure

_STEPS = (1e-5, 1e-6, 1e-7)
"""Step sizes of the differences. The closest result counts, since a kink (relu at 0) spoils only the larger steps."""
_MOST_PER_LAYER = 200
_NEGLIGIBLE = 1e-4
"""Share of a layer's largest slope; the errors of smaller slopes are taken relative to this share."""


class GradCheck(NamedTuple):
    """The largest difference between backpropagation and central differences.

    Attributes:
        worst: the largest relative difference.
        layer: the layer of the parameter with the largest difference.
        parameter: the name of that parameter, such as ``w[2, 0]``.
        backprop: its slope by backpropagation.
        differences: its slope by central differences.
        checked: the number of parameters compared.
    """

    worst: float
    layer: int
    parameter: str
    backprop: float
    differences: float
    checked: int

    def passes(self, tolerance: float = 1e-5) -> bool:
        """Return whether the largest difference is within the tolerance."""
        return self.worst <= tolerance

    def __str__(self) -> str:
        return (
            f"{self.checked} parameters checked; the worst is {self.parameter} of layer {self.layer}: backprop "
            f"{self.backprop:.6g}, central differences {self.differences:.6g}, relative difference {self.worst:.1e}"
        )


def gradcheck(structure: Structure, weights: Array, x: Array, y: Array) -> GradCheck:
    """Compare the gradients in float64 for all parameters, or for 200 of each layer that has more."""
    flat = weights.astype(np.float64)
    layers = structure.layers(flat)
    backprop = Backprop(structure, len(x), "float64", keep_z=True)
    gradient = np.empty_like(flat)
    backprop.gradient(layers, x, y, structure.layers(gradient))
    result = GradCheck(-1.0, 0, "", 0.0, 0.0, 0)
    checked = 0
    for l, (start, stop) in enumerate(zip(structure.bounds, structure.bounds[1:], strict=False), start=1):
        indices = np.unique(np.linspace(start, stop - 1, min(stop - start, _MOST_PER_LAYER)).astype(int))
        slopes = gradient[start:stop]
        least = _NEGLIGIBLE * max(float(np.abs(slopes).max()), 1e-8)
        for index in indices.tolist():
            slope = float(gradient[index])
            difference, error = _closest(backprop, layers, flat, index, x, y, slope, least)
            if not error <= result.worst:  # a NaN error counts as the largest
                name = _name(structure, l, index)
                result = GradCheck(error, l, name, slope, difference, 0)
            checked += 1
    return result._replace(checked=checked)


def _closest(
    backprop: Backprop, layers: Sequence[Layer], flat: Array, index: int, x: Array, y: Array, slope: float, least: float
) -> tuple[float, float]:
    """Return the central difference closest to ``slope``, and its relative error."""
    original, tried = float(flat[index]), []
    for step in _STEPS:
        costs = []
        for moved in (original + step, original - step):
            flat[index] = moved
            costs.append(backprop.sums(layers, x, y).cost)
        flat[index] = original
        difference = (costs[0] - costs[1]) / (2 * step)
        error = abs(slope - difference) / max(abs(slope), abs(difference), least)
        tried.append((error if np.isfinite(error) else np.inf, difference))
    error, difference = min(tried)
    return difference, error


def _name(structure: Structure, l: int, index: int) -> str:
    m_prev = structure.sizes[l - 1]
    first, last = structure.weight_ranges[l - 1]
    if index >= last:
        return f"b[{index - last}]"
    return f"w[{(index - first) // m_prev}, {(index - first) % m_prev}]"
