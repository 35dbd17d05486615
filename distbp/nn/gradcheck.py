"""Gradients against central differences, parameter by parameter, for any network and any part of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from distbp.nn.backprop import Backprop
from distbp.nn.structure import Array, Layer, Structure

_STEPS = (1e-5, 1e-6, 1e-7)
"""A parameter passes if one of these differences agrees: a kink, as relu has one at 0, spoils only the longer ones."""
_MOST_PER_LAYER = 200
_NEGLIGIBLE = 1e-4
"""Of a layer's largest slope; smaller ones are compared with this instead of with themselves."""


class GradCheck(NamedTuple):
    """How far backprop is from central differences.

    Attributes:
        worst: the largest relative difference.
        layer: the layer where it is.
        parameter: the parameter, such as ``w[2, 0]``.
        backprop: its slope by backprop.
        differences: its slope by central differences.
        checked: the parameters that were compared.
    """

    worst: float
    layer: int
    parameter: str
    backprop: float
    differences: float
    checked: int

    def passes(self, tolerance: float = 1e-5) -> bool:
        """Return whether backprop and differences agree."""
        return self.worst <= tolerance

    def __str__(self) -> str:
        return (
            f"{self.checked} parameters checked; the worst is {self.parameter} of layer {self.layer}: backprop "
            f"{self.backprop:.6g}, central differences {self.differences:.6g}, relative difference {self.worst:.1e}"
        )


def gradcheck(structure: Structure, weights: Array, x: Array, y: Array) -> GradCheck:
    """Compare all parameters, or 200 of each layer, in float64."""
    flat = weights.astype(np.float64)
    layers = structure.layers(flat)
    backprop = Backprop(structure, len(x), "float64", keep_z=True)
    gradient = np.empty_like(flat)
    backprop.gradient(layers, x, y, structure.layers(gradient))
    found = GradCheck(-1.0, 0, "", 0.0, 0.0, 0)
    checked = 0
    for l, (start, stop) in enumerate(zip(structure.bounds, structure.bounds[1:], strict=False), start=1):
        places = np.unique(np.linspace(start, stop - 1, min(stop - start, _MOST_PER_LAYER)).astype(int))
        slopes = gradient[start:stop]
        least = _NEGLIGIBLE * max(float(np.abs(slopes).max()), 1e-8)
        for place in places.tolist():
            slope = float(gradient[place])
            difference, error = _closest(backprop, layers, flat, place, x, y, slope, least)
            if not error <= found.worst:  # NaN counts as worst
                name = _name(structure, l, place)
                found = GradCheck(error, l, name, slope, difference, 0)
            checked += 1
    return found._replace(checked=checked)


def _closest(
    backprop: Backprop, layers: Sequence[Layer], flat: Array, place: int, x: Array, y: Array, slope: float, least: float
) -> tuple[float, float]:
    """Return the central difference that agrees best, and its relative difference."""
    kept, tried = float(flat[place]), []
    for step in _STEPS:
        costs = []
        for moved in (kept + step, kept - step):
            flat[place] = moved
            costs.append(backprop.sums(layers, x, y).cost)
        flat[place] = kept
        difference = (costs[0] - costs[1]) / (2 * step)
        error = abs(slope - difference) / max(abs(slope), abs(difference), least)
        tried.append((error if np.isfinite(error) else np.inf, difference))
    error, difference = min(tried)
    return difference, error


def _name(structure: Structure, l: int, place: int) -> str:
    m_prev = structure.sizes[l - 1]
    first, last = structure.weight_ranges[l - 1]
    if place >= last:
        return f"b[{place - last}]"
    return f"w[{(place - first) // m_prev}, {(place - first) % m_prev}]"
