"""Row weights, label smoothing, removed connections, user-defined activations and traces."""

import numpy as np
import pytest

import distbp
from distbp.errors import UsageError
from distbp.nn.activations import ACTIVATIONS
from distbp.nn.backprop import Backprop
from distbp.nn.costs import COSTS
from distbp.nn.structure import Structure

ROWS = 6


def central_differences(structure, flat, total):
    slopes = np.empty_like(flat)
    for i, kept in enumerate(flat):
        costs = []
        for moved in (kept + 1e-5, kept - 1e-5):
            flat[i] = moved
            costs.append(total())
        flat[i] = kept
        slopes[i] = (costs[0] - costs[1]) / 2e-5
    return slopes


def check(structure, y, rng, weights=None, smoothing=0.0):
    flat = rng.normal(0, 0.7, structure.parameter_count)
    layers, x = structure.layers(flat), rng.normal(size=(ROWS, structure.sizes[0]))
    backprop = Backprop(structure, ROWS, "float64", keep_z=True, smoothing=smoothing)
    gradient, spare = np.empty((2, flat.size))
    sums = backprop.gradient(layers, x, y, structure.layers(gradient), weights=weights)

    def total():
        return backprop.gradient(layers, x, y, structure.layers(spare), weights=weights).cost

    expected = central_differences(structure, flat, total)
    assert np.linalg.norm(gradient - expected) < 1e-6 * np.linalg.norm(expected)
    return x, flat, sums


FUSED = {"cross-entropy": "softmax", "binary-cross-entropy": "sigmoid", "poisson": "softplus"}


@pytest.mark.parametrize("cost", COSTS)
def test_a_row_counts_as_often_as_its_weight(cost, rng):
    structure = Structure((4, 5, 3), ("tanh", FUSED.get(cost, "identity")), cost)
    y, weights = rng.integers(0, 3, ROWS), np.array([0.0, 1, 2, 0.5, 3, 1])
    x, flat, sums = check(structure, y, rng, weights)
    # a row of weight 2 counts as two rows, a row of weight 0 not at all
    layers, one = structure.layers(flat), Backprop(structure, 1, "float64")
    alone = [one.sums(layers, x[[row]], y[[row]]).cost for row in range(ROWS)]
    assert sums.cost == pytest.approx(np.dot(alone, weights), rel=1e-12)


@pytest.mark.parametrize(
    ("cost", "nodes"), [("cross-entropy", 3), ("binary-cross-entropy", 3), ("binary-cross-entropy", 1)]
)
def test_label_smoothing_equals_the_cost_of_smoothed_targets(cost, nodes, rng):
    structure = Structure((4, 5, nodes), ("tanh", FUSED[cost]), cost)
    y = rng.integers(0, max(2, nodes), ROWS)
    x, flat, sums = check(structure, y, rng, smoothing=0.1)
    target = y[:, np.newaxis].astype(float) if nodes == 1 else np.eye(3)[y]
    smooth = 0.9 * target + (0.1 / nodes if cost == "cross-entropy" else 0.05)
    plain = Backprop(structure, ROWS, "float64").sums(structure.layers(flat), x, smooth)
    assert sums.cost == pytest.approx(plain.cost, rel=1e-12)


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "softmax"])
@pytest.mark.parametrize("cost", COSTS)
def test_gradcheck_passes_for_every_activation_and_cost(activation, cost):
    found = distbp.gradcheck((4, 6, 5, 3), activation=activation, output=FUSED.get(cost, "identity"), cost=cost)
    assert found.passes(1e-4), str(found)
    assert found.checked == 4 * 6 + 6 + 6 * 5 + 5 + 5 * 3 + 3


class Wrong:
    """A sine with a derivative of the wrong sign."""

    def value(self, z):
        return np.sin(z)

    def derivative(self, z):
        return -np.cos(z)


def test_gradcheck_names_the_wrong_layer_and_parameter():
    found = distbp.gradcheck((3, 4, 4, 2), activation=["tanh", Wrong()])
    assert not found.passes()
    assert found.layer in (1, 2)
    assert found.parameter[0] in "wb"
    assert f"{found.parameter} of layer {found.layer}" in str(found)


def connections(rng):
    first = (rng.random((8, 64)) < 0.5).astype(int)
    return [first, None]


SETTINGS = [{"optimizer": name} for name in ("sgd", "adagrad", "rmsprop", "adam", "adamw", "lion")] + [
    {"l1": 1e-3, "l2": 1e-3},
    {"clip_norm": 0.1, "max_norm": 1.0},
    {"clip_value": 1e-3, "dropout": 0.3},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_weights_of_removed_connections_stay_exactly_0(settings, rng, tmp_path):
    chosen = connections(rng)
    network = distbp.Network((64, 8, 10), connections=chosen)
    result = distbp.train("digits", network=network, workers=0, epochs=2, run_dir=tmp_path / "run", **settings)
    w = result.network.structure.layers(result.network.weights)[0].w
    assert (w[chosen[0] == 0] == 0).all()
    assert (w[chosen[0] == 1] != 0).mean() > 0.9
    loaded = distbp.Network.load(tmp_path / "run")
    assert (loaded.structure.connections[0] == chosen[0]).all()
    again = distbp.train("digits", network=loaded, workers=0, epochs=1)
    assert (again.network.structure.layers(again.network.weights)[0].w[chosen[0] == 0] == 0).all()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([np.ones((3, 4)), None], r"connections of layer 1 have the shape \(3, 4\), expected \(5, 4\) as w"),
        ([None], "an array or None for each of 2 layers"),
        ([np.full((5, 4), 2), None], "must be 0 or 1"),
        ([np.zeros((5, 4)), None], "layer 1 cut the output off"),
        ([None, np.zeros((3, 5))], "layer 2 cut the output off"),
        ([None, np.eye(3, 5) * [[1], [0], [1]]], "cut output node 1 off"),
    ],
)
def test_invalid_connections_are_refused(chosen, message):
    with pytest.raises(UsageError, match=message):
        distbp.Network((4, 5, 3), connections=chosen)


def test_a_trace_follows_the_equations_of_the_lecture(rng):
    network = distbp.Network((3, 4, 2), "sigmoid", output="sigmoid", cost="mse", dtype="float64", seed=3)
    x, y = rng.normal(size=(5, 3)), rng.random((5, 2))
    trace = network.trace(x, y)
    (w1, b1), (w2, b2) = network.structure.layers(network.weights)

    def sigma(z):
        return 1 / (1 + np.exp(-z))

    assert np.allclose(trace[0].a, x)
    assert np.allclose(trace[1].z, x @ w1.T + b1)
    assert np.allclose(trace[2].a, sigma(trace[1].a @ w2.T + b2))
    assert np.allclose(trace[2].delta, 2 * (trace[2].a - y) * trace[2].a * (1 - trace[2].a))
    assert np.allclose(trace[1].delta, (trace[2].delta @ w2) * trace[1].a * (1 - trace[1].a))
    assert np.allclose(trace[1].dc_dw, trace[1].delta.T @ x / 5)
    assert np.allclose(trace[2].dc_db, trace[2].delta.mean(axis=0))
    assert trace.cost == pytest.approx(((trace[2].a - y) ** 2).sum() / 5)


def test_a_trace_with_a_fused_cost_includes_the_output(rng):
    network = distbp.Network((3, 4, 3), classes="abc", dtype="float64")
    trace = network.trace(rng.normal(size=(4, 3)), list("abca"))
    assert np.allclose(trace[2].a.sum(axis=1), 1)
    assert np.allclose(trace[2].delta, trace[2].a - np.eye(3)[[0, 1, 2, 0]])


def test_the_gradient_of_a_removed_connection_is_0(rng):
    chosen = np.ones((4, 3))
    chosen[1, 2] = 0
    network = distbp.Network((3, 4, 2), connections=[chosen, None], classes=(0, 1))
    assert network.trace(rng.normal(size=(9, 3)), rng.integers(0, 2, 9))[1].dc_dw[1, 2] == 0
