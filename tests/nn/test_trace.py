"""Compare a trace with the lecture's equations, computed number by number."""

import math

import numpy as np
import pytest

from distbp import Network

SIZES = (2, 3, 4, 2)
X = [[0.5, -1.0], [1.5, 0.25], [-0.75, 2.0]]
Y = [1, 0, 1]


def logistic(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@pytest.fixture
def network() -> Network:
    """Return a network of three layers; the middle one lacks a connection."""
    left_out = np.ones((4, 3))
    left_out[1, 2] = 0
    network = Network(
        SIZES, "sigmoid", seed=3, dtype="float64", classes=("no", "yes"), connections=(None, left_out, None)
    )
    network.weights += np.linspace(
        -0.5, 0.5, network.parameter_count
    )  # initial biases are 0, which would hide a mistake in them
    network.weights *= network.structure.connection_vector("float64")
    return network


def test_a_trace_of_three_layers_equals_the_equations_number_by_number(network: Network) -> None:
    layers = [(w.tolist(), b.tolist()) for w, b in network.structure.layers(network.weights)]
    sums = [([[0.0] * len(w[0]) for _ in w], [0.0] * len(w)) for w, _ in layers]
    total, every = 0.0, []
    for x, y in zip(X, Y, strict=True):
        z: list[list[float]] = []
        a = [x]
        for number, (w, b) in enumerate(layers):
            z.append(
                [sum(wkj * aj for wkj, aj in zip(wk, a[-1], strict=True)) + bk for wk, bk in zip(w, b, strict=True)]
            )
            powers = [math.exp(zk) for zk in z[-1]]
            is_last = number == len(layers) - 1
            a.append([each / sum(powers) for each in powers] if is_last else [logistic(zk) for zk in z[-1]])
        total -= math.log(a[-1][y])
        delta = [[ak - (k == y) for k, ak in enumerate(a[-1])]]
        for number in (2, 1):
            w = layers[number][0]
            delta.insert(
                0,
                [sum(w[k][j] * delta[0][k] for k in range(len(w))) * aj * (1 - aj) for j, aj in enumerate(a[number])],
            )
        for number, (dw, db) in enumerate(sums):
            for k in range(len(db)):
                db[k] += delta[number][k] / len(X)
                for j in range(len(dw[k])):
                    dw[k][j] += delta[number][k] * a[number][j] / len(X)
        every.append((z, a, delta))
    sums[1][0][1][2] = 0.0  # the missing connection

    trace = network.trace(X, ["yes" if y else "no" for y in Y])
    assert trace.cost == pytest.approx(total / len(X))
    np.testing.assert_array_equal(trace[0].a, X)
    for l in (1, 2, 3):
        for row, (z, a, delta) in enumerate(every):
            np.testing.assert_allclose(trace[l].z[row], z[l - 1], rtol=1e-12)
            np.testing.assert_allclose(trace[l].a[row], a[l], rtol=1e-12)
            np.testing.assert_allclose(trace[l].delta[row], delta[l - 1], rtol=1e-11)
        np.testing.assert_allclose(trace[l].dc_dw, sums[l - 1][0], rtol=1e-11)
        np.testing.assert_allclose(trace[l].dc_db, sums[l - 1][1], rtol=1e-11)
