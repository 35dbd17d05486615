"""Costs, deltas and scores of a few rows, computed by hand."""

import math

import numpy as np
import pytest

from distbp.nn.backprop import Backprop
from distbp.nn.scores import class_scores, roc_auc, value_scores
from distbp.nn.structure import Structure

LN3, LN4, E = math.log(3), math.log(4), math.e

# name: (cost, output, z, target, smoothing, C, delta)
COSTS = {
    # a - y is 1.5 and -0.25; costs are sums over the nodes, only huber halves its squares
    "mse": ("mse", "identity", [1.5, 1.75], [0.0, 2.0], 0, 2.25 + 0.0625, [3, -0.5]),
    "mae": ("mae", "identity", [1.5, 1.75], [0.0, 2.0], 0, 1.5 + 0.25, [1, -1]),
    "huber": ("huber", "identity", [1.5, 1.75], [0.0, 2.0], 0, 1 + 0.03125, [1, -0.25]),
    "huber at its edge": ("huber", "identity", [1.0, -1.0], [0.0, 0.0], 0, 1 / 2 + 1 / 2, [1, -1]),
    # the class is (0, 1)
    "mse of a class": ("mse", "identity", [0.2, 0.5], 1, 0, 0.04 + 0.25, [0.4, -1]),
    # a is 3 and 1, a - y log a, (1 - y/a) times sigma' = 1 - e^-a
    "poisson": (
        "poisson", "softplus", [math.log(E**3 - 1), math.log(E - 1)], [2.0, 5.0], 0, 3 - 2 * LN3 + 1,
        [(1 - E**-3) / 3, -4 * (1 - 1 / E)],
    ),
    # a is 3/4 and 1/4
    "binary": ("binary-cross-entropy", "sigmoid", [LN3, -LN3], [1.0, 0.5], 0, 2 * LN4 - 1.5 * LN3, [-0.25, -0.25]),
    # a is 3/4 for the second of two classes, whose target is 0.9
    "binary, smoothed": ("binary-cross-entropy", "sigmoid", [LN3], 1, 0.2, LN4 - 0.9 * LN3, [-0.15]),
    # a is 1/4 and 3/4
    "cross-entropy": ("cross-entropy", "softmax", [0.0, LN3], 0, 0, LN4, [-0.75, 0.75]),
    # targets 0.9 and 0.1
    "cross-entropy, smoothed": ("cross-entropy", "softmax", [0.0, LN3], 0, 0.2, LN4 - 0.1 * LN3, [-0.65, 0.65]),
}  # fmt: skip


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("weight", [None, 2.5])
def test_cost_and_delta_of_one_row(name, weight):
    cost, output, z, target, smoothing, expected, delta = COSTS[name]
    nodes = len(z)
    structure = Structure((1, nodes), (output,), cost)
    flat = np.zeros(structure.parameter_count)
    structure.layers(flat)[0].b[:] = z
    gradient = np.empty_like(flat)
    backprop = Backprop(structure, 1, "float64", smoothing=smoothing)
    y = np.array([target])
    counts = None if weight is None else np.array([weight])
    sums = backprop.gradient(structure.layers(flat), np.zeros((1, 1)), y, structure.layers(gradient), (), counts)
    times = 1 if weight is None else weight
    assert sums.cost == pytest.approx(times * expected, rel=1e-14)
    assert structure.layers(gradient)[0].b == pytest.approx(times * np.array(delta), rel=1e-14)


def test_scores_of_two_classes():
    p = np.array([0.1, 0.6, 0.4, 0.8])
    y, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    found = class_scores(y, predicted, np.column_stack([1 - p, p]))
    assert found.accuracy == 1 / 2
    assert found.log_loss == pytest.approx(-math.log(0.9 * 0.4 * 0.4 * 0.8) / 4, rel=1e-14)
    assert found.roc_auc == 3 / 4  # of four pairs only (0.4, 0.6) is in the wrong order
    assert found.confusion.tolist() == [[1, 1], [1, 1]]
    assert (found.precision.tolist(), found.recall.tolist()) == ([0.5, 0.5], [0.5, 0.5])


def test_scores_of_three_classes():
    p = np.array([[0.5, 0.3, 0.2], [0.4, 0.5, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
    y = np.array([0, 0, 1, 2])
    found = class_scores(y, p.argmax(axis=1), p)
    assert found.accuracy == 3 / 4
    assert found.log_loss == pytest.approx(-math.log(0.5 * 0.4 * 0.6 * 0.6) / 4, rel=1e-14)
    # class 0: 0.5 and 0.4 rank above 0.1 and 0.2; classes 1 and 2: 0.6 ranks above all others
    assert found.roc_auc == 1
    assert found.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert (found.precision.tolist(), found.recall.tolist()) == ([1, 1 / 2, 1], [1 / 2, 1, 1])


def test_equal_scores_count_half():
    assert roc_auc(np.array([True, False]), np.array([0.5, 0.5])) == 1 / 2
    # of six pairs two are ties and three are in the right order
    assert roc_auc(np.array([1, 1, 0, 0, 0], bool), np.array([0.7, 0.3, 0.7, 0.3, 0.1])) == pytest.approx(4 / 6)


def test_scores_of_values():
    y = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 60.0]])
    found = value_scores(y, np.array([[1.0, 10.0], [2.0, 40.0], [4.0, 60.0]]))
    assert found.rmse == pytest.approx(
        math.sqrt((1 + 400) / 6), rel=1e-14
    )  # one mean over all cells, not one per column
    assert found.mae == pytest.approx(21 / 6, rel=1e-14)
    assert found.r2 == pytest.approx(((1 - 1 / 2) + (1 - 400 / 1400)) / 2, rel=1e-14)


@pytest.mark.parametrize(("predicted", "r2"), [([5.0, 5.0], 1), ([5.0, 5.1], 0)])
def test_r2_of_values_that_are_all_equal_is_1_or_0(predicted, r2):
    assert value_scores(np.array([[5.0], [5.0]]), np.array(predicted)[:, np.newaxis]).r2 == r2
