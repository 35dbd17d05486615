"""A look inside a network: which of its units are saturated or dead, and whether its gradient is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distbp.data.checks import numbers
from distbp.data.columns.encoding import encode
from distbp.data.dataset import Array
from distbp.model.network import Network
from distbp.nn.backprop import Backprop
from distbp.nn.gradcheck import GradCheck
from distbp.nn.gradcheck import gradcheck as check_gradient
from distbp.system.blas import one_thread


def shares(network: Network, x: Array) -> list[dict[str, float]]:
    """Return for each layer the share of saturated units (sigmoid, tanh) or of dead ones (relu), on rows of the data.

    A row's unit is saturated where sigma' is below 4 % of its largest value; a unit is dead if it is 0 for every row.
    """
    encoding = network.preprocessing.encoding(x.dtype.name) if network.preprocessing is not None else None
    table = encode(encoding, x) if encoding else numbers(x, network.weights.dtype.name, network.byte_factor)
    structure = network.structure
    backprop = Backprop(structure, len(table), network.weights.dtype.name)
    with one_thread(), np.errstate(over="ignore", invalid="ignore"):
        work = backprop.forward(structure.layers(network.weights), table)
    found: list[dict[str, float]] = []
    for activation, a in zip(structure.activations, work.a, strict=True):
        if activation == "sigmoid":
            found.append({"saturated": float(np.mean(np.abs(a - 0.5) > 0.49))})
        elif activation == "tanh":
            found.append({"saturated": float(np.mean(np.abs(a) > 0.98))})
        elif activation == "relu":
            found.append({"dead": float(np.mean(~a.any(axis=0)))})
        else:
            found.append({})
    return found


def gradcheck(network: Network | Sequence[int], rows: int = 8, seed: int = 0, **parts: Any) -> GradCheck:
    """Compare backprop with central differences on random rows, in float64, for a network or for sizes and parts.

    Args:
        network: a network, or the sizes of one whose ``parts`` are given as to :class:`Network`.
        rows: how many random rows.
        seed: fixes them, and the weights where sizes are given.
        parts: activation, output, cost, connections.

    >>> gradcheck((4, 5, 3), activation="gelu").passes()
    True
    """
    if not isinstance(network, Network):
        network = Network(network, seed=seed, dtype="float64", **parts)
    structure = network.structure
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, structure.sizes[0]))
    y: Array
    if structure.cost in ("cross-entropy", "binary-cross-entropy"):
        y = random.integers(0, max(2, structure.sizes[-1]), rows)
    elif structure.cost == "poisson":
        y = random.poisson(2.0, (rows, structure.sizes[-1])).astype(np.float64)
    else:
        y = random.random((rows, structure.sizes[-1]))
    with one_thread():
        return check_gradient(structure, network.weights, x, y)
