"""Compare gradients, outputs and training with scikit-learn's multi-layer perceptron in float64."""

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

from distbp.config import Config
from distbp.data.dataset import Rows
from distbp.data.epoch_order import EpochOrder
from distbp.nn.backprop import Backprop
from distbp.nn.structure import Structure
from distbp.optim import optimizer_of
from distbp.parallel.step.executor import InProcessExecutor

ROWS, FEATURES, HIDDEN = 60, 6, (9, 7)
LR = 0.3
KINDS = {
    "softmax": ("cross-entropy", "softmax", 3),
    "one sigmoid": ("binary-cross-entropy", "sigmoid", 1),
    "values": ("mse", "identity", 2),
}
THEIR_NAME = {"sigmoid": "logistic"}
kinds = pytest.mark.parametrize("kind", KINDS)
activations = pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "identity"])


def problem(kind, activation, rng):
    """Return structure, x, y for distbp and y for scikit-learn."""
    cost, output, outputs = KINDS[kind]
    structure = Structure((FEATURES, *HIDDEN, outputs), (activation, activation, output), cost)
    x = rng.normal(size=(ROWS, FEATURES))
    if kind == "values":
        y = rng.normal(size=(ROWS, outputs))
        return structure, x, y, y
    labels = rng.integers(0, max(outputs, 2), ROWS)
    return structure, x, labels[:, np.newaxis].astype(float) if outputs == 1 else labels, labels


def sklearn_network(structure, x, y, lr, momentum=0.0, nesterov=False):
    """Return a scikit-learn network, its new optimizer, and its weights as distbp's flat vector."""
    make = MLPRegressor if structure.cost == "mse" else MLPClassifier
    name = structure.activations[0]
    network = make(
        hidden_layer_sizes=HIDDEN,
        activation=THEIR_NAME.get(name, name),
        solver="sgd",
        alpha=0,
        batch_size=len(x),
        learning_rate_init=lr,
        shuffle=False,
        momentum=momentum,
        nesterovs_momentum=nesterov,
        random_state=0,
    )
    step(network, x, y)  # creates the weights
    del network._optimizer  # drop the velocity of that step
    return network, flat_weights(network)


def step(network, x, y):
    """Run one step of scikit-learn's optimizer on all rows."""
    network.batch_size = len(x)
    if isinstance(network, MLPClassifier):
        network.partial_fit(x, y, classes=getattr(network, "classes_", np.unique(y)))
    else:
        network.partial_fit(x, y)


def flat_weights(network):
    pairs = zip(network.coefs_, network.intercepts_, strict=True)
    return np.concatenate([part.ravel() for w, b in pairs for part in (w.T, b)])


def sklearn_cost_factor(structure):
    """Return scikit-learn's cost over distbp's: it halves the sum of squares, the lecture does not."""
    return 2 if structure.cost == "mse" else 1


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@kinds
@activations
def test_gradient_equals_the_step_of_sklearn(kind, activation, rng):
    structure, x, y, their_y = problem(kind, activation, rng)
    network, before = sklearn_network(structure, x, their_y, lr=1.0)
    step(network, x, their_y)
    expected = (before - flat_weights(network)) * sklearn_cost_factor(structure) * ROWS

    gradient = np.empty_like(before)
    sums = Backprop(structure, ROWS, "float64").gradient(structure.layers(before), x, y, structure.layers(gradient))
    for found, wanted in zip(structure.layers(gradient), structure.layers(expected), strict=True):
        assert relative_error(found.w, wanted.w) < 1e-10
        assert relative_error(found.b, wanted.b) < 1e-10
    per_value = structure.sizes[-1] if structure.cost == "mse" else 1  # scikit-learn takes the mean over a row's values
    assert sums.cost / ROWS == pytest.approx(network.loss_ * sklearn_cost_factor(structure) * per_value, rel=1e-10)


@kinds
@activations
def test_output_equals_that_of_sklearn(kind, activation, rng):
    structure, x, _, their_y = problem(kind, activation, rng)
    network, flat = sklearn_network(structure, x, their_y, lr=0.1)
    a = Backprop(structure, ROWS, "float64").forward(structure.layers(flat), x).a[-1]
    expected = network.predict(x) if kind == "values" else network.predict_proba(x)
    assert a == pytest.approx(expected[:, 1:] if kind == "one sigmoid" else expected, rel=1e-10)


@kinds
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("shards", [1, 3])
def test_training_gives_the_weights_of_sklearn(kind, momentum, nesterov, shards, rng):
    structure, x, y, their_y = problem(kind, "tanh", rng)
    network, start = sklearn_network(structure, x, their_y, LR, momentum, nesterov)
    config = Config(
        optimizer="sgd",
        lr=LR / sklearn_cost_factor(structure),
        momentum=momentum,
        nesterov=nesterov,
        batch_size=16,  # the last mini-batch of an epoch has 12 rows
        shards=shards,
        dtype="float64",
    )
    slots = optimizer_of(config).slots
    state = np.vstack([start, *[np.zeros_like(start) for _ in slots]])
    pool = InProcessExecutor(structure, config, Rows(x, y), state)
    order = EpochOrder(ROWS, 16, config.seed)
    for record in pool.steps(12):
        rows = order.rows(record.step)
        step(network, x[rows], their_y[rows])
    assert relative_error(flat_weights(network), start) > 0.1  # the weights have moved
    assert relative_error(pool.state()[0], flat_weights(network)) < 1e-10
