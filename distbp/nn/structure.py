"""The structure of a network: how many nodes each layer has, what they apply, and the cost at the end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distbp.errors import UsageError, unknown_name
from distbp.nn.activations import ACTIVATIONS
from distbp.nn.costs import COSTS

Array = NDArray[Any]


_MOST_PARAMETERS = 2**40


class Layer(NamedTuple):
    """The parameters of one layer, or their gradient: views into a flat vector."""

    w: Array
    """``w[k, j]`` is the weight from node j of layer l-1 to node k of layer l; shape (m_l, m_{l-1})."""
    b: Array
    """Shape (m_l,)."""


class Parameters(NamedTuple):
    """A flat parameter vector, or a gradient's, with the views of its layers."""

    flat: Array
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Structure:
    """A layered, fully connected network with layers l = 1..L.

    The flat parameter vector holds w^1, b^1, w^2, b^2 .. one after the other, each w by rows.

    >>> structure = Structure((4, 3, 2), ("relu", "softmax"), "cross-entropy")
    >>> structure.parameter_count
    23
    >>> [(layer.w.shape, layer.b.shape) for layer in structure.layers(np.zeros(23))]
    [((3, 4), (3,)), ((2, 3), (2,))]
    """

    sizes: tuple[int, ...]
    """m_0 .. m_L, the input's size first."""
    activations: tuple[str, ...]
    """Of the layers 1..L."""
    cost: str

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or any(type(size) is not int or size < 1 for size in self.sizes):
            raise UsageError(f"a network needs at least an input and an output of 1 node or more, found {self.sizes}")
        if self.parameter_count > _MOST_PARAMETERS:
            raise UsageError(f"{self.sizes} has {self.parameter_count:,} parameters, more than any memory holds")
        if len(self.activations) != len(self.sizes) - 1:
            raise UsageError(f"{len(self.sizes) - 1} layers need as many activations, found {len(self.activations)}")
        for name in self.activations:
            if name not in ACTIVATIONS:
                raise unknown_name("activation", name, ACTIVATIONS)
        if "softmax" in self.activations[:-1]:
            raise UsageError("softmax belongs to the output layer: its nodes depend on each other")
        if self.cost not in COSTS:
            raise unknown_name("cost", self.cost, COSTS)
        needed = COSTS[self.cost].output
        if needed is not None and self.activations[-1] != needed:
            raise UsageError(f"cost {self.cost} needs the output activation {needed}, found {self.activations[-1]}")
        if self.activations[-1] == "softmax" and self.sizes[-1] < 2:
            raise UsageError("a softmax output of 1 node is always 1: it needs at least 2 nodes")

    @property
    def depth(self) -> int:
        """L, the number of layers without the input."""
        return len(self.activations)

    @cached_property
    def bounds(self) -> tuple[int, ...]:
        """Where each layer's parameters begin in the flat vector, and where the last ones end; L + 1 places."""
        places = [0]
        for m_prev, m in zip(self.sizes, self.sizes[1:], strict=False):
            places.append(places[-1] + m * m_prev + m)
        return tuple(places)

    @property
    def parameter_count(self) -> int:
        """Length of the flat parameter vector."""
        return self.bounds[-1]

    def parameters(self, flat: Array) -> Parameters:
        """Return ``flat`` with its layers' views, for callers that use them often."""
        return Parameters(flat, self.layers(flat))

    def layers(self, flat: Array) -> tuple[Layer, ...]:
        """Return each layer's w and b as views into ``flat``, whose last axis is the parameter vector's."""
        views = []
        for l, (m_prev, m) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            start, stop = self.bounds[l], self.bounds[l + 1]
            views.append(Layer(flat[start : stop - m].reshape(m, m_prev), flat[stop - m : stop]))
        return tuple(views)


def first_bad_layer(layers: tuple[Layer, ...]) -> int:
    """Return the number of the first layer whose parameters cannot be squared and added up as finite numbers."""
    for l, (w, b) in enumerate(layers, start=1):
        if not (np.isfinite(np.vdot(w, w)) and np.isfinite(np.vdot(b, b))):
            return l
    return len(layers)
