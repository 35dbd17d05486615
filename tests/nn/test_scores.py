"""Compare scores with scikit-learn and with numbers computed by hand; map outputs to classes and probabilities."""

import csv
import json
from math import log, nan, sqrt

import numpy as np
import pytest
from sklearn import metrics

import distbp
from distbp.cli import run
from distbp.config import CHOICES
from distbp.data.dataset import Rows
from distbp.model.network import evaluate
from distbp.nn.activations import ACTIVATIONS
from distbp.nn.costs import COSTS
from distbp.nn.scores import Predictions, class_scores, roc_auc, value_scores


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_of_classes_equal_those_of_sklearn(classes, rng):
    y = rng.integers(0, classes, 500)
    p = rng.dirichlet(np.ones(classes), 500).round(2) + 0.01  # with ties
    p /= p.sum(axis=1, keepdims=True)
    predicted = p.argmax(axis=1)
    found = class_scores(y, predicted, p)
    assert found.accuracy == metrics.accuracy_score(y, predicted)
    assert found.log_loss == pytest.approx(metrics.log_loss(y, p))
    area = metrics.roc_auc_score(y, p[:, 1]) if classes == 2 else metrics.roc_auc_score(y, p, multi_class="ovr")
    assert found.roc_auc == pytest.approx(area)
    assert found.confusion.tolist() == metrics.confusion_matrix(y, predicted).tolist()
    assert found.precision == pytest.approx(metrics.precision_score(y, predicted, average=None))
    assert found.recall == pytest.approx(metrics.recall_score(y, predicted, average=None))


def test_scores_of_values_equal_those_of_sklearn(rng):
    y, predicted = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    found = value_scores(y, predicted)
    assert found.rmse == pytest.approx(np.sqrt(metrics.mean_squared_error(y, predicted)))
    assert found.mae == pytest.approx(metrics.mean_absolute_error(y, predicted))
    assert found.r2 == pytest.approx(metrics.r2_score(y, predicted))


def test_roc_auc_of_a_single_class_is_nan():
    assert np.isnan(roc_auc(np.ones(3, bool), np.arange(3.0)))


def test_scores_of_three_classes_by_hand():
    """Precision of a class that is never predicted is undefined, as are recall and ROC AUC of an absent class."""
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.7, 0.2], [0.5, 0.4, 0.1], [0.0, 1.0, 0.0], [0.6, 0.4, 0.0]])
    y, predicted = np.array([0, 1, 1, 0, 0]), p.argmax(axis=1)
    found = class_scores(y, predicted, p)
    assert found.accuracy == 3 / 5
    assert found.confusion.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert found.precision.tolist() == pytest.approx([2 / 3, 1 / 2, nan], nan_ok=True)
    assert found.recall.tolist() == pytest.approx([2 / 3, 1 / 2, nan], nan_ok=True)
    assert found.log_loss == pytest.approx(-(log(0.5) + log(0.7) + log(0.4) + log(1e-15) + log(0.6)) / 5, rel=1e-12)
    # class 0: 0.5, 0.0, 0.6 against 0.1, 0.5, one tie; class 1: 0.7, 0.4 against 0.3, 1.0, 0.4, one tie
    assert found.roc_auc == pytest.approx(((1 + 0.5 + 0 + 0 + 1 + 1) / 6 + (1 + 0 + 1 + 1 + 0 + 0.5) / 6) / 2)


def test_log_loss_normalises_each_row_to_sum_1():
    y, p = np.array([0, 1, 0]), np.array([[1.0, 4.0], [0.25, 0.25], [0.0, 0.0]])
    found = class_scores(y, np.array([1, 0, 0]), p)
    assert found.log_loss == pytest.approx(-(log(1 / 5) + log(1 / 2) + log(1e-15)) / 3, rel=1e-12)


def test_roc_auc_counts_a_tie_as_half_a_pair(rng):
    is_positive, score = rng.random(60) < 0.3, rng.integers(0, 6, 60) / 4
    total = 0.0
    for positive in score[is_positive]:
        for negative in score[~is_positive]:
            total += 1.0 if positive > negative else 0.5 if positive == negative else 0.0
    assert roc_auc(is_positive, score) == pytest.approx(total / (is_positive.sum() * (~is_positive).sum()), rel=1e-12)


def test_scores_of_values_by_hand():
    """R2 is the mean over columns; a constant column gives 1 if predicted exactly, else 0."""
    y = np.array([[1.0, 5.0, 7.0], [2.0, 5.0, 7.0], [6.0, 5.0, 7.0]])
    predicted = np.array([[1.0, 5.0, 7.0], [4.0, 5.0, 7.0], [5.0, 5.0, 8.0]])
    found = value_scores(y, predicted)
    assert found.rmse == pytest.approx(sqrt((4 + 1 + 1) / 9), rel=1e-12)
    assert found.mae == pytest.approx((2 + 1 + 1) / 9, rel=1e-12)
    assert found.r2 == pytest.approx(((1 - 5 / 14) + 1 + 0) / 3, rel=1e-12)
    assert value_scores(y[:, 1:2], predicted[:, 1:2]).r2 == 1.0
    assert value_scores(y[:, 2:], predicted[:, 2:]).r2 == 0.0


def identity_network(output, nodes, cost="mse"):
    """Return a network that passes its inputs on as z."""
    network = distbp.Network((nodes, nodes), (), output, cost, dtype="float64", classes=range(max(nodes, 2)))
    layer = network.structure.layers(network.weights)[0]
    layer.w[:], layer.b[:] = np.eye(nodes), 0
    return network


def test_evaluation_of_a_network_equals_numbers_computed_by_hand():
    network = identity_network("identity", 2)
    network.classes = ()
    x = np.array([[1.0, 0.0], [2.0, 3.0], [0.0, 0.0]])
    y = np.array([[1.0, 1.0], [4.0, 3.0], [1.0, 5.0]])
    found = network.evaluate(x, y)
    assert found.cost == pytest.approx((1 + 4 + 26) / 3, rel=1e-12)
    assert found.rmse == pytest.approx(sqrt((1 + 4 + 26) / 6), rel=1e-12)
    assert found.r2 == pytest.approx(((1 - 5 / 6) + (1 - 26 / 8)) / 2, rel=1e-12)
    weighted = evaluate(network, Rows(x, y, weights=np.array([2.0, 0.0, 0.5])))
    assert weighted.cost == pytest.approx((2 * 1 + 0.5 * 26) / 2.5, rel=1e-12)
    assert weighted[2:] == found[2:]


OUTPUTS = [
    [-3.0, -0.75, -1.0],
    [0.5, 0.25, 0.5],
    [-4.0, 2.0, 3.0],
    [-1.0, -2.0, -3.0],
    [0.0, 0.0, 0.0],
    [9.0, 9.5, -9.0],
    [-900.0, -800.0, -1.0],
]


@pytest.mark.parametrize(
    ("output", "cost"),
    [*((output, cost) for output in CHOICES["output"] for cost in ("mse", "mae")), ("sigmoid", "binary-cross-entropy")],
)
def test_the_class_is_the_largest_output_and_has_the_largest_probability(output, cost):
    """This holds for activations that are not monotonic (gelu, swish); between equal outputs z decides."""
    network, x = identity_network(output, 3, cost), np.array(OUTPUTS)
    answers = network.answers(x)
    ranked = [list(zip(row, z, strict=True)) for row, z in zip(answers.outputs.tolist(), OUTPUTS, strict=True)]
    expected = [row.index(max(row)) for row in ranked]
    assert answers.chosen.tolist() == network.predict(x).tolist() == expected
    assert network.evaluate(x, np.array(expected)).accuracy == 1.0
    for chosen, row in zip(expected, answers.probabilities.tolist(), strict=True):
        assert row[chosen] == max(row)
        assert min(row) >= 0
        assert sum(row) == pytest.approx(1, rel=1e-12)
    falls = output in ("gelu", "swish")  # below about -1 a smaller z gives a larger a, with limit 0
    assert expected == [0 if falls else 1, 0, 2, 2 if falls else 0, 0, 1, 1 if falls else 2]


class Falling:
    """A user-defined activation that decreases."""

    def value(self, z):
        return 1 - z

    def derivative(self, z):
        return -np.ones_like(z)


def test_the_largest_output_is_the_class_for_user_defined_activations():
    answers = identity_network(Falling(), 3).answers(np.array([[0.2, 0.5, 0.8], [0.75, 0.25, 2.0]]))
    assert answers.chosen.tolist() == [0, 1]
    assert answers.probabilities == pytest.approx(np.array([[0.8, 0.5, 0.2], [0.25, 0.75, 0]]) / [[1.5], [1]])


@pytest.mark.parametrize("output", ["sigmoid", "gelu"])
@pytest.mark.parametrize("cost", COSTS)
def test_right_rows_are_counted_by_the_outputs_of_the_current_step(cost, output):
    """Arrays left over from an earlier mini-batch do not matter."""
    output = {"cross-entropy": "softmax", "binary-cross-entropy": "sigmoid", "poisson": "softplus"}.get(cost, output)
    z = np.array([[-3.0, -0.75, -1.0], [0.5, 0.25, 0.1], [-4.0, 2.0, 3.0]])
    a, delta, scratch = np.full((3, *z.shape), np.nan)
    y = np.array([0 if output == "gelu" else 1, 0, 1])
    found = COSTS[cost].base_case(ACTIVATIONS[output], z, a, y, delta, scratch)
    assert found.right == 2


def test_outputs_that_are_not_probabilities_are_normalised():
    answers = identity_network("identity", 3).answers(np.array(OUTPUTS))
    third = [1 / 3, 1 / 3, 1 / 3]
    expected = [third, [0.4, 0.2, 0.4], [0, 0.4, 0.6], third, third, [9 / 18.5, 9.5 / 18.5, 0], third]
    assert answers.probabilities == pytest.approx(np.array(expected), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_of_softmax_and_of_several_labels_are_the_probabilities(dtype, rng):
    outputs = rng.normal(size=(5, 3)).astype(dtype)
    assert Predictions(outputs, outputs, True).probabilities is outputs
    assert Predictions(outputs, outputs, False).probabilities.dtype == dtype
    labels = distbp.Network((2, 3), (), "sigmoid", "binary-cross-entropy", dtype=dtype)
    x = rng.normal(size=(4, 2))
    assert labels.probabilities(x).tobytes() == labels.outputs(x).tobytes()
    classes = distbp.Network((2, 3), (), "softmax", dtype=dtype, classes="abc")
    assert classes.probabilities(x).tobytes() == classes.outputs(x).tobytes()


def test_outputs_whose_sum_overflows_float32_still_give_probabilities():
    outputs = np.array([[3e38, 1e38, 0.0], [-1.0, 3e38, 3e38]], np.float32)
    found = Predictions(outputs, outputs, False).probabilities
    assert found == pytest.approx(np.array([[0.75, 0.25, 0.0], [0.0, 0.5, 0.5]]))


@pytest.mark.parametrize(
    ("output", "z", "second"), [("identity", [-0.5, 0.5, 0.6, 1.5], [0, 0.5, 0.6, 1]), ("sigmoid", [0.0], [0.5])]
)
def test_a_single_node_predicts_the_second_class_above_one_half(output, z, second):
    network = identity_network(output, 1)
    answers = network.answers(np.array(z)[:, None])
    assert answers.probabilities.tolist() == [[1 - p, p] for p in second]
    assert answers.chosen.tolist() == [int(p > 0.5) for p in second]
    assert network.evaluate(np.array(z)[:, None], answers.chosen).accuracy == 1.0


@pytest.mark.parametrize("settings", [{"output": "identity"}, {"output": "tanh"}, {"cost": "binary-cross-entropy"}])
def test_evaluate_scores_the_probabilities_that_predict_prints(settings, tmp_path, capsys):
    settings = {"cost": "mse", **settings}
    distbp.train("digits", hidden=(8,), epochs=1, workers=0, run_dir=tmp_path / "run", **settings)
    assert run(["predict", str(tmp_path / "run"), "digits", "-o", str(tmp_path / "p.csv")], 0.0) == 0
    assert run(["evaluate", str(tmp_path / "run"), "digits", "--json"], 0.0) == 0
    told = json.loads(capsys.readouterr().out)
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    loss, right, y = 0.0, 0, distbp.load("digits").test.y
    for row, label in zip(rows, y, strict=True):
        p = [float(row[f"probability_{k}"]) for k in range(10)]
        assert sum(p) == pytest.approx(1, abs=1e-5)
        assert min(p) >= 0
        assert p[int(row["class"])] == max(p)
        loss -= log(max(p[label], 1e-15))
        right += int(row["class"]) == label
    assert told["log_loss"] == pytest.approx(loss / len(rows), rel=1e-4)
    assert told["accuracy"] == right / len(rows)
