"""The structure of a network: how many nodes each layer has, what they apply, and the cost at the end."""

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
    activations: tuple[Any, ...]
    """Of the layers 1..L: names, or objects of the user's own."""
    cost: Any
    """A name, or an object of the user's own."""
    connections: tuple[Array | None, ...] = field(default=(), compare=False, repr=False)
    """For each layer where w is: an array of w's shape, 0 where a connection is left out, else 1; None for all."""

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
        """Refuse activations and costs that nobody knows or that do not go together."""
        for name in self.activations:
            if isinstance(name, str) and name not in CHOICES["output"]:
                raise unknown_name("activation", name, CHOICES["output"])
        if "softmax" in self.activations[:-1]:
            raise UsageError("softmax belongs to the output layer: its nodes depend on each other")
        if isinstance(self.cost, str) and self.cost not in CHOICES["cost"]:
            raise unknown_name("cost", self.cost, CHOICES["cost"])
        needed = cost_of(self.cost).output
        if needed is not None and self.activations[-1] != needed:
            found = name_of(self.activations[-1])
            raise UsageError(f"cost {name_of(self.cost)} needs the output activation {needed}, found {found}")
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

    @cached_property
    def sigmas(self) -> tuple[Activation, ...]:
        """The layers' activations themselves."""
        return tuple(map(activation_of, self.activations))

    @property
    def cost_function(self) -> Cost:
        """The cost itself."""
        return cost_of(self.cost)

    @property
    def weight_ranges(self) -> list[tuple[int, int]]:
        """Where each layer's w begins and ends in the flat vector; its b comes behind."""
        return [(start, stop - m) for start, stop, m in zip(self.bounds, self.bounds[1:], self.sizes[1:], strict=False)]

    def connection_vector(self, dtype: Any) -> Array | None:
        """Return what the flat vector is multiplied by: 0 where a connection is left out, else 1; None for all 1."""
        if all(chosen is None for chosen in self.connections):
            return None
        vector: Array = np.ones(self.parameter_count, dtype)
        for layer, chosen in zip(self.layers(vector), self.connections, strict=True):
            if chosen is not None:
                layer.w[:] = chosen
        return vector

    def described(self) -> dict[str, Any]:
        """Return sizes and names as JSON's types; the connections are arrays and not among them."""
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
        """Return ``flat`` with its layers' views, for callers that use them often."""
        return Parameters(flat, self.layers(flat))

    def layers(self, flat: Array) -> tuple[Layer, ...]:
        """Return each layer's w and b as views into ``flat``, whose last axis is the parameter vector's."""
        views = []
        for l, (m_prev, m) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            start, stop = self.bounds[l], self.bounds[l + 1]
            views.append(Layer(flat[start : stop - m].reshape(m, m_prev), flat[stop - m : stop]))
        return tuple(views)


def first_nonfinite_layer(layers: tuple[Layer, ...]) -> int:
    """Return the number of the first layer whose parameters cannot be squared and added up as finite numbers."""
    for l, (w, b) in enumerate(layers, start=1):
        if not (np.isfinite(np.vdot(w, w)) and np.isfinite(np.vdot(b, b))):
            return l
    return len(layers)


def check_connections(sizes: Sequence[int], connections: Sequence[Array | None]) -> None:
    """Refuse connections of another shape, and those that leave no way from the input to some output node.

    Raises:
        UsageError: they are one of these.
    """
    if len(connections) != len(sizes) - 1:
        raise UsageError(f"connections must have an array or None for each of {len(sizes) - 1} layers")
    reached: Array = np.ones(sizes[0], bool)
    for l, (chosen, m_prev, m) in enumerate(zip(connections, sizes, sizes[1:], strict=False), start=1):
        if chosen is None:
            reached = np.full(m, reached.any())
        else:
            if chosen.shape != (m, m_prev):
                raise UsageError(f"connections of layer {l} have the shape {chosen.shape}, w has {(m, m_prev)}")
            if not np.isin(chosen, (0, 1)).all():
                raise UsageError(f"connections of layer {l} must be 0 or 1")
            reached = (chosen != 0) @ reached
        if not reached.any():
            raise UsageError(f"connections of layer {l} cut the output off: nothing of the input comes through")
    if not reached.all():
        node = int(np.argmin(reached))
        raise UsageError(f"connections cut output node {node} off: nothing of the input reaches it")


def check_custom_functions(structure: Structure, dtype: str) -> None:
    """Try the activations and the cost of the user's own, before anything is started with them.

    Raises:
        UsageError: one returns another shape than it must.
    """
    for part in structure.activations:
        if not isinstance(part, str):
            check_custom_activation(part, dtype)
    if not isinstance(structure.cost, str):
        check_custom_cost(structure.cost, structure.sizes[-1], dtype)
