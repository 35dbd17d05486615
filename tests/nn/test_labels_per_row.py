"""Compare training with several labels per row (binary cross-entropy) with plain float64 loops."""

from math import exp, log

import numpy as np
import pytest

import distbp
from distbp.errors import UsageError

ROWS, INPUTS, HIDDEN = 40, 3, 4


def cells(labels, dtype):
    rng = np.random.default_rng(labels)
    x = rng.normal(size=(ROWS, INPUTS))
    y = (x @ rng.normal(size=(INPUTS, labels)) + rng.normal(size=(ROWS, labels)) > 0).astype(dtype)
    return x, y


def sigmoid(z):
    return 1 / (1 + exp(-z))


def outputs_of(layers, row):
    """Return the activations of both layers, computed node by node."""
    (w1, b1), (w2, b2) = layers
    hidden = [sigmoid(sum(w * v for w, v in zip(ws, row, strict=True)) + b) for ws, b in zip(w1, b1, strict=True)]
    return hidden, [
        sigmoid(sum(w * h for w, h in zip(ws, hidden, strict=True)) + b) for ws, b in zip(w2, b2, strict=True)
    ]


def mean_cost(layers, x, y):
    total = 0.0
    for row, labels in zip(x, y, strict=True):
        for a, label in zip(outputs_of(layers, row)[1], map(float, labels), strict=True):
            total -= label * log(a) + (1 - label) * log(1 - a)
    return total / len(x)


def one_step(layers, x, y, lr, smoothing=0.0):
    """Return the layers after one step of gradient descent on the mean cost, by the chain rule."""
    y = [[(1 - smoothing) * float(label) + smoothing / 2 for label in labels] for labels in y]
    (w1, b1), (w2, b2) = ((w.copy(), b.copy()) for w, b in layers)
    for row, labels in zip(x, y, strict=True):
        hidden, a = outputs_of(layers, row)
        delta = [a[k] - float(labels[k]) for k in range(len(a))]
        for j, h in enumerate(hidden):
            back = sum(layers[1][0][k][j] * delta[k] for k in range(len(a))) * h * (1 - h)
            for i, value in enumerate(row):
                w1[j, i] -= lr * back * value / len(x)
            b1[j] -= lr * back / len(x)
            for k in range(len(a)):
                w2[k, j] -= lr * delta[k] * h / len(x)
        for k in range(len(a)):
            b2[k] -= lr * delta[k] / len(x)
    return (w1, b1), (w2, b2)


def layers_of(network):
    return [(layer.w, layer.b) for layer in network.structure.layers(network.weights)]


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32", "float64", "bool"])
@pytest.mark.parametrize("labels", [1, 2, 3, 5])
def test_labels_are_trained_and_reported_as_computed_by_hand(labels, dtype, tmp_path):
    x, y = cells(labels, dtype)
    settings = {
        "cost": "binary-cross-entropy",
        "dtype": "float64",
        "hidden": (HIDDEN,),
        "activation": "sigmoid",
        "optimizer": "sgd",
        "schedule": "constant",
        "workers": 0,
        "epochs": 1,
        "batch_size": ROWS,
        "lr": 0.5,
    }
    sizes = (INPUTS, HIDDEN, labels)
    begin = distbp.Network(sizes, "sigmoid", "sigmoid", "binary-cross-entropy", seed=1, dtype="float64")
    np.savez(tmp_path / "rows.npz", x_train=x, y_train=y, x_test=x[:15], y_test=y[:15])
    result = distbp.train(tmp_path / "rows.npz", network=begin, **settings)
    for found, expected in zip(layers_of(result.network), one_step(layers_of(begin), x, y, 0.5), strict=True):
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-11)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-11)
    assert result.summary["test_cost"] == pytest.approx(mean_cost(layers_of(result.network), x[:15], y[:15]), rel=1e-11)

    # predictions and scores are per label, too
    made = distbp.train(tmp_path / "rows.npz", run_dir=tmp_path / "run", **settings)
    assert made.network.structure.sizes == sizes
    again = distbp.Network.load(tmp_path / "run")
    told = again.evaluate(x, y)
    assert told.cost == pytest.approx(mean_cost(layers_of(again), x, y), rel=1e-11)
    if not again.classes:  # a single integer or boolean label is one of two classes
        predicted = again.predict(x)
        assert predicted.shape == (ROWS, labels)
        expected = [outputs_of(layers_of(again), row)[1] for row in x]
        np.testing.assert_allclose(predicted, expected, rtol=1e-11)


@pytest.mark.parametrize("labels", [1, 3])
def test_smoothing_moves_each_label_towards_one_half(labels, tmp_path):
    """Each label becomes (1 - s) y + s/2, in training only; fractions such as 1/2 are valid labels."""
    x, y = cells(labels, "float64")
    y[::5] = 0.25
    settings = {
        "cost": "binary-cross-entropy",
        "optimizer": "sgd",
        "workers": 0,
        "epochs": 1,
        "batch_size": ROWS,
        "lr": 0.5,
        "task": "regression",
        "momentum": 0.0,
    }
    begin = distbp.Network(
        (INPUTS, HIDDEN, labels), "sigmoid", "sigmoid", "binary-cross-entropy", seed=1, dtype="float64"
    )
    np.savez(tmp_path / "rows.npz", x_train=x, y_train=y, x_test=x[:15], y_test=y[:15])
    result = distbp.train(tmp_path / "rows.npz", network=begin, label_smoothing=0.2, **settings)
    for found, expected in zip(layers_of(result.network), one_step(layers_of(begin), x, y, 0.5, 0.2), strict=True):
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-11)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-11)
    assert result.summary["train_cost"] == pytest.approx(mean_cost(layers_of(begin), x, 0.8 * y + 0.1), rel=1e-11)
    assert result.summary["test_cost"] == pytest.approx(mean_cost(layers_of(result.network), x[:15], y[:15]), rel=1e-11)


def test_smoothing_of_values_is_refused():
    random = np.random.default_rng(0)
    with pytest.raises(UsageError, match="label_smoothing is for classes, the task is regression"):
        distbp.train((random.normal(size=(40, 3)), random.normal(size=40)), label_smoothing=0.1, workers=0)
