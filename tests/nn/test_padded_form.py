"""The lecture pads every layer to m = max m_l nodes; w, b, z and a of the extra nodes are 0."""

import numpy as np
import pytest

from distbp.nn.backprop import Backprop
from distbp.nn.structure import Structure

SLOPES = {
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
    "tanh": (np.tanh, lambda a: 1 - a * a),
    "relu": (lambda z: np.maximum(z, 0), lambda a: (a > 0).astype(float)),
}


def padded_gradient(structure, flat, x, y):
    """Return output, dC/dw (L, m, m) and dC/db (L, m) of C = |y - a|^2 by the lecture's square matrices."""
    m, depth = max(structure.sizes), structure.depth
    w, b = np.zeros((depth, m, m)), np.zeros((depth, m))
    real = np.zeros((depth + 1, m))  # 1 for real nodes; keeps z and a of extra nodes at 0, even where sigma(0) = 1/2
    for l, (layer_w, layer_b) in enumerate(structure.layers(flat)):
        w[l, : layer_w.shape[0], : layer_w.shape[1]] = layer_w
        b[l, : layer_b.size] = layer_b
    for l, size in enumerate(structure.sizes):
        real[l, :size] = 1
    a = [np.pad(x, ((0, 0), (0, m - x.shape[1])))]
    for l, name in enumerate(structure.activations):
        a.append(SLOPES[name][0](a[l] @ w[l].T + b[l]) * real[l + 1])
    delta = 2 * (a[-1] - np.pad(y, ((0, 0), (0, m - y.shape[1]))))
    dc_dw, dc_db = np.empty_like(w), np.empty_like(b)
    for l in reversed(range(depth)):
        delta = delta * SLOPES[structure.activations[l]][1](a[l + 1]) * real[l + 1]
        dc_dw[l], dc_db[l] = delta.T @ a[l], delta.sum(axis=0)
        delta = delta @ w[l]
    return a[-1], dc_dw, dc_db


@pytest.mark.parametrize("hidden", SLOPES)
@pytest.mark.parametrize("sizes", [(3, 7, 5, 2), (6, 2, 4, 1), (2, 3, 3, 8)])
def test_padded_network_has_the_same_output_and_gradient(hidden, sizes, rng):
    structure = Structure(sizes, (hidden, hidden, "sigmoid"), "mse")
    flat = rng.normal(size=structure.parameter_count)
    x, y = rng.normal(size=(9, sizes[0])), rng.random((9, sizes[-1]))
    backprop, gradient = Backprop(structure, 9, "float64"), np.empty_like(flat)
    layers = structure.layers(flat)
    backprop.gradient(layers, x, y, structure.layers(gradient))
    output = backprop.forward(layers, x).a[-1]

    a, dc_dw, dc_db = padded_gradient(structure, flat, x, y)
    assert output == pytest.approx(a[:, : sizes[-1]], rel=1e-12, abs=0)
    for l, (w, b) in enumerate(structure.layers(gradient)):
        assert np.linalg.norm(dc_dw[l, : w.shape[0], : w.shape[1]] - w) <= 1e-12 * np.linalg.norm(w)
        assert np.linalg.norm(dc_db[l, : b.size] - b) <= 1e-12 * np.linalg.norm(b)


@pytest.mark.parametrize("hidden", SLOPES)
def test_extra_nodes_of_the_padded_network_have_no_output_and_no_gradient(hidden, rng):
    structure = Structure((3, 7, 2), (hidden, "sigmoid"), "mse")
    flat = rng.normal(size=structure.parameter_count)
    a, dc_dw, dc_db = padded_gradient(structure, flat, rng.normal(size=(9, 3)), rng.random((9, 2)))
    assert not a[:, 2:].any()
    assert not dc_dw[0, :, 3:].any()
    assert not dc_dw[1, 2:].any()
    assert not dc_db[1, 2:].any()
