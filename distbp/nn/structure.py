"""The structure of a network: layer sizes, activations, cost, and the layout of the flat parameter vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distbp.config import CHOICES, name_of
from distbp.errors import UsageError, unknown_name
from distbp.nn.activations import Activation, activation_of
from distbp.nn.costs import Cost, cost_of
from distbp.nn.custom import check_custom_activation, check_custom_cost

Array = NDArray[Any]


_MOST_PARAMETERS = 2**40


class Layer(NamedTuple):
    """The parameters of one layer, or their gradient, as views into a flat vector."""

    w: Array
    """``w[k, j]`` is the weight from node j of layer l-1 to node k of layer l; shape (m_l, m_{l-1})."""
    b: Array
    """The biases, shape (m_l,)."""


class Parameters(NamedTuple):
    """A flat parameter vector, or a flat gradient, with the views of its layers."""

    flat: Array
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Structure:
    """A layered, fully connected network with layers l = 1..L.

    The flat parameter vector holds w^1, b^1, w^2, b^2 .. in this order, each w row by row.

    >>> structure = Structure((4, 3, 2), ("relu", "softmax"), "cross-entropy")
    >>> structure.parameter_count
    23
    >>> [(layer.w.shape, layer.b.shape) for layer in structure.layers(np.zeros(23))]
    [((3, 4), (3,)), ((2, 3), (2,))]
    """

    sizes: tuple[int, ...]
    """m_0 .. m_L, the input's size first."""
    activations: tuple[Any, ...]
    """Activations of layers 1..L: names or custom objects."""
    cost: Any
    """The cost: a name or a custom object."""
    connections: tuple[Array | None, ...] = field(default=(), compare=False, repr=False)
    """For each layer a mask of w's shape, 0 where a connection is missing, else 1; None if fully connected."""

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or any(type(size) is not int or size < 1 for size in self.sizes):
            raise UsageError(f"a network needs at least an input and an output of 1 node or more, found {self.sizes}")
        if self.parameter_count > _MOST_PARAMETERS:
            raise UsageError(f"{self.sizes} has {self.parameter_count:,} parameters, more than any memory holds")
        if len(self.activations) != len(self.sizes) - 1:
            raise UsageError(f"{len(self.sizes) - 1} layers need as many activations, found {len(self.activations)}")
        self._check_parts()
        if self.connections:
            check_connections(self.sizes, self.connections)

    def _check_parts(self) -> None:
        """Raise UsageError for an unknown activation or cost, or for a pair that does not fit together."""
        for name in self.activations:
            if isinstance(name, str) and name not in CHOICES["output"]:
                raise unknown_name("activation", name, CHOICES["output"])
        if "softmax" in self.activations[:-1]:
            raise UsageError("softmax belongs to the output layer: its nodes depend on each other")
        if isinstance(self.cost, str) and self.cost not in CHOICES["cost"]:
            raise unknown_name("cost", self.cost, CHOICES["cost"])
        needed = cost_of(self.cost).output
        if needed is not None and self.activations[-1] != needed:
            output = name_of(self.activations[-1])
            raise UsageError(f"cost {name_of(self.cost)} needs the output activation {needed}, found {output}")
        if self.activations[-1] == "softmax" and self.sizes[-1] < 2:
            raise UsageError("a softmax output of 1 node is always 1: it needs at least 2 nodes")

    @property
    def depth(self) -> int:
        """L, the number of layers not counting the input."""
        return len(self.activations)

    @cached_property
    def bounds(self) -> tuple[int, ...]:
        """Start of each layer's parameters in the flat vector, and the end of the last layer's; L + 1 numbers."""
        bounds = [0]
        for m_prev, m in zip(self.sizes, self.sizes[1:], strict=False):
            bounds.append(bounds[-1] + m * m_prev + m)
        return tuple(bounds)

    @cached_property
    def sigmas(self) -> tuple[Activation, ...]:
        """Activation objects of layers 1..L."""
        return tuple(map(activation_of, self.activations))

    @property
    def cost_function(self) -> Cost:
        """The cost object."""
        return cost_of(self.cost)

    @property
    def weight_ranges(self) -> list[tuple[int, int]]:
        """Start and end of each layer's w in the flat vector; its b follows."""
        return [(start, stop - m) for start, stop, m in zip(self.bounds, self.bounds[1:], self.sizes[1:], strict=False)]

    def connection_vector(self, dtype: Any) -> Array | None:
        """Return a mask for the flat vector, 0 where a connection is missing, else 1; None if fully connected."""
        if all(mask is None for mask in self.connections):
            return None
        vector: Array = np.ones(self.parameter_count, dtype)
        for layer, mask in zip(self.layers(vector), self.connections, strict=True):
            if mask is not None:
                layer.w[:] = mask
        return vector

    def described(self) -> dict[str, Any]:
        """Return sizes and names as JSON types, without the connections, which are arrays."""
        return {
            "sizes": list(self.sizes),
            "activations": [name_of(each) for each in self.activations],
            "cost": name_of(self.cost),
        }

    @property
    def parameter_count(self) -> int:
        """Length of the flat parameter vector."""
        return self.bounds[-1]

    def parameters(self, flat: Array) -> Parameters:
        """Return ``flat`` together with its layers' views, for callers that use both repeatedly."""
        return Parameters(flat, self.layers(flat))

    def layers(self, flat: Array) -> tuple[Layer, ...]:
        """Return each layer's w and b as views into the flat vector."""
        views = []
        for l, (m_prev, m) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            start, stop = self.bounds[l], self.bounds[l + 1]
            views.append(Layer(flat[start : stop - m].reshape(m, m_prev), flat[stop - m : stop]))
        return tuple(views)


def first_nonfinite_layer(layers: tuple[Layer, ...]) -> int:
    """Return the number of the first layer whose parameters have no finite sum of squares."""
    for l, (w, b) in enumerate(layers, start=1):
        if not (np.isfinite(np.vdot(w, w)) and np.isfinite(np.vdot(b, b))):
            return l
    return len(layers)


def check_connections(sizes: Sequence[int], connections: Sequence[Array | None]) -> None:
    """Check the connection masks' shapes and values, and that the input reaches every output node.

    Raises:
        UsageError: a check fails.
    """
    if len(connections) != len(sizes) - 1:
        raise UsageError(f"connections must have an array or None for each of {len(sizes) - 1} layers")
    reached: Array = np.ones(sizes[0], bool)
    for l, (mask, m_prev, m) in enumerate(zip(connections, sizes, sizes[1:], strict=False), start=1):
        if mask is None:
            reached = np.full(m, reached.any())
        else:
            if mask.shape != (m, m_prev):
                raise UsageError(f"connections of layer {l} have the shape {mask.shape}, expected {(m, m_prev)} as w")
            if not np.isin(mask, (0, 1)).all():
                raise UsageError(f"connections of layer {l} must be 0 or 1")
            reached = (mask != 0) @ reached
        if not reached.any():
            raise UsageError(f"connections of layer {l} cut the output off: keep a path from the input")
    if not reached.all():
        node = int(np.argmin(reached))
        raise UsageError(f"connections cut output node {node} off: keep a path to it from the input")


def check_custom_functions(structure: Structure, dtype: str) -> None:
    """Try the structure's custom activations and cost on a few rows, before a run starts.

    Raises:
        UsageError: one of them returns a wrong shape.
    """
    for part in structure.activations:
        if not isinstance(part, str):
            check_custom_activation(part, dtype)
    if not isinstance(structure.cost, str):
        check_custom_cost(structure.cost, structure.sizes[-1], dtype)
