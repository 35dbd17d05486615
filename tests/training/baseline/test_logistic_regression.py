"""Compare the linear model of classes with scikit-learn's logistic regression."""

import numpy as np
import pyarrow
import pytest
from callers import Notes
from sklearn.linear_model import LogisticRegression

import distbp
from distbp.data import load
from distbp.data.dataset import Gather
from distbp.training.baseline import baselines, logistic
from distbp.training.baseline.sample import sample_of


def test_offsets_do_not_affect_logistic_regression(rng):
    x = rng.normal(size=(400, 2))
    y = (x[:, 0] + 0.02 * rng.normal(size=400) > 0).astype(int)
    data = load((x + 50, y))
    theirs = LogisticRegression(max_iter=1000).fit(data.train.x, data.train.y).score(data.test.x, data.test.y)
    assert theirs > 0.95
    assert baselines(data, "float32")["linear_test_accuracy"] == pytest.approx(
        theirs, abs=0.013
    )  # within one row of 80


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "columns", "classes"), [(600, 5, 2), (600, 5, 4), (800, 8, 20), (60, 200, 3)])
def test_coefficients_are_those_of_logistic_regression(rows, columns, classes, dtype, rng):
    x = rng.normal(size=(rows, columns))
    y = (2 * x @ rng.normal(size=(columns, classes)) + rng.gumbel(size=(rows, classes))).argmax(axis=1)
    weights = rng.uniform(0.5, 2.0, rows)
    data = load((5 + 0.1 * x, y, weights), task="classification", dtype=dtype)
    names = len(data.classes)
    sample = sample_of(data.train, np.arange(columns), dtype, names)
    ours = logistic.logistic(sample, names, dtype)
    assert ours.has_converged
    w = data.train.weights / data.train.weights.mean(dtype=np.float64)
    centred = data.train.x - w @ data.train.x / len(w)
    scaled = centred / np.sqrt(w @ centred**2 / len(w))
    c = 2.0 if names == 2 else 1.0  # scikit-learn has one node: the difference of distbp's two
    theirs = LogisticRegression(C=c, tol=1e-6, max_iter=5000).fit(scaled, data.train.y, w)
    z = scaled @ ours.coefficients + ours.constant
    expected = theirs.predict_proba(scaled)
    found = np.exp(z - z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found / found.sum(axis=1, keepdims=True), expected, atol=0.02)
    assert baselines(data, dtype).keys() == {"constant_test_accuracy", "linear_test_accuracy"}


@pytest.mark.parametrize("kind", ["pixels", "table"])
def test_pixels_and_columns_of_a_table_keep_their_unit(kind, rng):
    """Otherwise rare inputs would count as much as those that vary."""
    rare = rng.random(600) < 0.02
    number = rng.integers(0, 256, 600)
    y = rng.integers(0, 3, 600) * rare + (number > 128) * ~rare
    if kind == "pixels":
        data = load((np.column_stack([number, 20 * rare, rng.integers(0, 40, 600)]).astype(np.uint8), y))
    else:
        data = load(pyarrow.table({"n": number * 1000.0, "c": np.where(rare, "rare", "usual"), "y": y}), target="y")
    rows = data.train
    inputs = np.arange(2 if kind == "table" else 0, rows.inputs)  # without the inputs that are left out, such as pieces
    ours = logistic.logistic(sample_of(rows, inputs, "float64", 3), 3, "float64")
    x = Gather(rows, len(rows), "float64")(np.arange(len(rows)))[0][:, inputs]
    theirs = LogisticRegression(tol=1e-6, max_iter=5000).fit(x, rows.y)
    z = (x - x.mean(axis=0)) @ ours.coefficients + ours.constant
    found = np.exp(z - z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found / found.sum(axis=1, keepdims=True), theirs.predict_proba(x), atol=0.01)


@pytest.mark.parametrize("classes", [2, 3])
def test_linear_model_of_classes_is_logistic_regression(classes, rng):
    x = rng.normal(size=(900, 5))
    y = (x @ rng.normal(size=(5, classes)) + rng.gumbel(size=(900, classes))).argmax(axis=1)
    data = load((x, y), dtype="float64")
    theirs = LogisticRegression(max_iter=500).fit(data.train.x, data.train.y)
    found = baselines(data, "float64")
    assert found["linear_test_accuracy"] == pytest.approx(theirs.score(data.test.x, data.test.y), abs=0.006)
    most = np.bincount(data.train.y).argmax()
    assert found["constant_test_accuracy"] == np.mean(data.test.y == most)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6, 1e7, 1e9, 1e12])
def test_duplicate_columns_give_logistic_regression(scale, dtype, rng):
    x = rng.normal(size=(900, 2))
    y = (x @ rng.normal(size=(2, 3)) + rng.gumbel(size=(900, 3))).argmax(axis=1)
    data = load((np.repeat(x, 3, axis=1) * scale, y), dtype=dtype)
    theirs = LogisticRegression(C=1e4, max_iter=500).fit(data.train.x / scale, data.train.y)
    found = baselines(data, dtype)
    assert found["linear_test_accuracy"] == pytest.approx(theirs.score(data.test.x / scale, data.test.y), abs=0.012)


def test_missing_convergence_is_reported_and_recorded(monkeypatch):
    monkeypatch.setattr(logistic, "_LEAST_EVALUATIONS", 3)
    monkeypatch.setattr(logistic, "_MOST_EVALUATIONS", 3)
    told = Notes()
    result = distbp.train("digits", workers=0, epochs=1, callbacks=[told])
    assert result.summary["linear_converged"] is False
    assert "the linear model had not converged after 3 evaluations: its score may be too low" in told.notes


def test_the_model_predicts_the_only_class_with_weighted_rows(rng):
    y = np.arange(400) % 2
    found = baselines(load((rng.normal(size=(400, 2)), y, np.where(y == 1, 3.0, 0.0))), "float32")
    assert found == {"constant_test_accuracy": 0.5, "linear_test_accuracy": 0.5}


def test_a_test_part_of_one_class_is_scored(tmp_path, rng):
    x = rng.normal(size=(400, 2))
    held, y = np.where(x > 0, x, -x), (x[:, 0] > 0).astype(int)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=held, y_test=np.ones(400, int))
    found = baselines(load(tmp_path / "data.npz"), "float32")
    assert found["linear_test_accuracy"] > 0.97
