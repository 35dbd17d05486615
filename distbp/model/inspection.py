"""Inspection of a network: saturated and dead units, and a check of its gradient."""

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
    """Return the share of saturated units (sigmoid, tanh) or of dead units (relu) of each layer, for these rows.

    A unit is saturated for a row if sigma' is below 4 % of its largest value; it is dead if it is 0 for every row.
    """
    encoding = network.preprocessing.encoding(x.dtype.name) if network.preprocessing is not None else None
    table = encode(encoding, x) if encoding else numbers(x, network.weights.dtype.name, network.byte_factor)
    structure = network.structure
    backprop = Backprop(structure, len(table), network.weights.dtype.name)
    with one_thread(), np.errstate(over="ignore", invalid="ignore"):
        work = backprop.forward(structure.layers(network.weights), table)
    result: list[dict[str, float]] = []
    for activation, a in zip(structure.activations, work.a, strict=True):
        if activation == "sigmoid":
            result.append({"saturated": float(np.mean(np.abs(a - 0.5) > 0.49))})
        elif activation == "tanh":
            result.append({"saturated": float(np.mean(np.abs(a) > 0.98))})
        elif activation == "relu":
            result.append({"dead": float(np.mean(~a.any(axis=0)))})
        else:
            result.append({})
    return result


def gradcheck(network: Network | Sequence[int], rows: int = 8, seed: int = 0, **parts: Any) -> GradCheck:
    """Compare the gradient of backprop with central differences, on random rows in float64.

    Args:
        network: a network, or the sizes of a new one.
        rows: number of random rows.
        seed: determines the rows, and the weights of a new network.
        parts: activation, output, cost and connections of a new network, as for :class:`Network`.

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
