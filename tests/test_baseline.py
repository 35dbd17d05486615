from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import distbp
from distbp.baseline import baselines, logistic
from distbp.baseline.sample import sample_of
from distbp.data import load


def with_ones(part):
    return np.column_stack([part.x.astype(np.float64), np.ones(len(part))])


def least_squares_rmse(data):
    """Return the root of the mean square over all test cells of least squares with a constant, in double precision."""
    weights = np.ones(len(data.train)) if data.train.weights is None else data.train.weights
    root = np.sqrt(weights.astype(np.float64))[:, None]
    fitted = np.linalg.lstsq(with_ones(data.train) * root, data.train.y.astype(np.float64) * root)[0]
    return np.sqrt(np.mean(np.square(with_ones(data.test) @ fitted - data.test.y)))


@pytest.mark.parametrize(
    ("rows", "times", "shift", "constant", "stored"),
    [
        (400, 1.0, 0.0, 1000.0, "float64"),
        (100, 1.0, 0.0, 1000.0, "float64"),
        (1000, 1.0, 1000.0, 0.0, "float32"),
        (400, 1.0, 50.0, 0.0, "float32"),
        (400, 0.01, 0.0, 0.0, "float64"),
    ],
)
@pytest.mark.parametrize("columns", [1, 5])
def test_unit_and_distance_from_0_cost_the_linear_model_nothing(rows, times, shift, constant, stored, columns, rng):
    x = rng.normal(size=(rows, columns))
    y = constant + 2 * x[:, 0] + rng.normal(size=rows)
    data = load(((x * times + shift).astype(stored), y))
    found = baselines(data, "float32")
    assert found["linear_test_rmse"] == pytest.approx(least_squares_rmse(data), rel=0.01)
    assert found["constant_test_rmse"] > 1.5 * found["linear_test_rmse"]


def test_distance_from_0_costs_logistic_regression_nothing(rng):
    x = rng.normal(size=(400, 2))
    y = (x[:, 0] + 0.02 * rng.normal(size=400) > 0).astype(int)
    data = load((x + 50, y))
    theirs = LogisticRegression(max_iter=1000).fit(data.train.x, data.train.y).score(data.test.x, data.test.y)
    assert theirs > 0.95
    assert baselines(data, "float32")["linear_test_accuracy"] == pytest.approx(theirs, abs=0.013)  # one row of 80


def test_a_relation_without_noise_is_found_exactly(rng):
    x = rng.normal(size=(300, 3))
    found = baselines(load((x, 5 + x @ [1.0, -2.0, 0.5]), dtype="float64"), "float64")
    assert found["linear_test_rmse"] < 1e-9


def test_columns_that_are_constant_say_nothing(rng):
    x = rng.normal(size=(300, 2))
    y = x @ [1.0, 2.0] + rng.normal(size=300)
    more = np.column_stack([np.full(300, 1e6), x, np.zeros(300), np.full(300, 0.1)])
    alone, beside = (baselines(load((each, y)), "float32")["linear_test_rmse"] for each in (x, more))
    assert beside == pytest.approx(alone, rel=1e-4)
    nothing = baselines(load((np.ones((300, 2)), y)), "float32")
    assert nothing["linear_test_rmse"] == pytest.approx(nothing["constant_test_rmse"], rel=1e-6)


def test_weights_are_those_of_least_squares(rng):
    x = rng.normal(size=(400, 1))
    y = np.where(np.arange(400) % 2, 3 * x[:, 0] + 1, -2 * x[:, 0]) + 0.1 * rng.normal(size=400)
    weights = np.where(np.arange(400) % 2, 20.0, 1.0)
    data = load((x, y, weights))
    found = baselines(data, "float32")
    assert found["linear_test_rmse"] == pytest.approx(least_squares_rmse(data), rel=1e-3)
    every_row_a_thousand = baselines(load((x, y, 1000 * weights)), "float32")
    assert every_row_a_thousand == pytest.approx(found, rel=1e-4)
    assert baselines(load((x, y)), "float32")["linear_test_rmse"] != pytest.approx(found["linear_test_rmse"], rel=0.1)


def by_hat_matrices(x, y, weights, ridges):
    """Return constant and coefficients of the ridge with the least generalized cross-validation, in plain steps."""
    w = weights / weights.mean()
    centre, middle = w @ x / len(x), w @ y / len(x)
    x, y = x - centre, y - middle
    deviation = np.sqrt(w @ x**2 / len(x))
    x = x / deviation
    tells, best = w.sum() ** 2 / (w @ w), (np.inf, None)
    for ridge in ridges:
        solver = np.linalg.solve(x.T @ (w[:, None] * x) + ridge * np.eye(x.shape[1]), (w[:, None] * x).T)
        freedom = 1 + np.trace(x @ solver)
        squares = w @ (y - x @ solver @ y) ** 2
        if tells - freedom >= 0.05 * tells:
            best = min(best, (squares / (tells - freedom) ** 2, ridge))
    fitted = np.linalg.solve(x.T @ (w[:, None] * x) + best[1] * np.eye(x.shape[1]), x.T @ (w * y)) / deviation
    return middle - centre @ fitted, fitted


@pytest.mark.parametrize("columns", [30, 90, 150])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_columns_get_the_ridge_that_cross_validation_asks_for(columns, weighted, rng):
    x = rng.normal(size=(100, columns)) * 10.0 ** rng.integers(-3, 3, columns)
    y = 3 + (x / x.std(axis=0))[:, :5].sum(axis=1) + rng.normal(size=100)
    weights = rng.uniform(0.5, 2.0, 100) if weighted else np.ones(100)
    data = load((x, y, weights), dtype="float64")
    train = data.train
    w = train.weights / train.weights.mean()
    scaled = (train.x - w @ train.x / len(w)) / np.sqrt(w @ (train.x - w @ train.x / len(w)) ** 2 / len(w))
    largest = np.linalg.eigvalsh(scaled.T @ (w[:, None] * scaled))[-1]
    constant, fitted = by_hat_matrices(train.x, train.y[:, 0], train.weights, largest * np.logspace(-7, 1, 17))
    rmse = np.sqrt(np.mean(np.square(constant + data.test.x @ fitted - data.test.y[:, 0])))
    found = baselines(data, "float64")
    assert found["linear_test_rmse"] == pytest.approx(rmse, rel=1e-6)
    assert found["linear_test_rmse"] < found["constant_test_rmse"]


def test_several_values_have_a_ridge_each(rng):
    """One value is noise, one follows its inputs exactly."""
    x = rng.normal(size=(120, 60))
    y = np.column_stack([rng.normal(size=120), x @ rng.normal(size=60)])
    data = load((x, y), dtype="float64")
    fitted = [baselines(load((x, y[:, k]), dtype="float64"), "float64")["linear_test_rmse"] for k in range(2)]
    assert fitted[1] < 1e-9
    assert baselines(data, "float64")["linear_test_rmse"] == pytest.approx(np.sqrt(fitted[0] ** 2 / 2), rel=1e-6)


def test_several_labels_per_row_are_fitted_as_values(rng):
    x = rng.normal(size=(500, 4))
    y = (x @ rng.normal(size=(4, 3)) + rng.normal(size=(500, 3)) > 0).astype(float)
    data = load((x, y), task="regression")
    found = baselines(data, "float32")
    assert found["linear_test_rmse"] == pytest.approx(least_squares_rmse(data), rel=0.01)


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
    c = 2.0 if names == 2 else 1.0  # theirs has one node then, with all of the difference between our two
    theirs = LogisticRegression(C=c, tol=1e-6, max_iter=5000).fit(scaled, data.train.y, w)
    z = scaled @ ours.coefficients + ours.constant
    expected = theirs.predict_proba(scaled)
    found = np.exp(z - z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found / found.sum(axis=1, keepdims=True), expected, atol=0.02)
    assert baselines(data, dtype).keys() == {"constant_test_accuracy", "linear_test_accuracy"}


def test_where_rows_of_one_class_count_the_model_gives_that_class(rng):
    y = np.arange(400) % 2
    found = baselines(load((rng.normal(size=(400, 2)), y, np.where(y == 1, 3.0, 0.0))), "float32")
    assert found == {"constant_test_accuracy": 0.5, "linear_test_accuracy": 0.5}


def test_test_rows_of_one_class_are_scored(tmp_path, rng):
    x = rng.normal(size=(400, 2))
    held, y = np.where(x > 0, x, -x), (x[:, 0] > 0).astype(int)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=held, y_test=np.ones(400, int))
    found = baselines(load(tmp_path / "data.npz"), "float32")
    assert found["linear_test_accuracy"] > 0.97


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_where_no_row_counts_the_run_goes_on_without_a_linear_model(task, rng):
    data = load((rng.normal(size=(50, 2)), np.arange(50) % 2), task=task)
    nothing = replace(data, train=replace(data.train, weights=np.zeros(len(data.train), np.float32)))
    notes = []
    assert not any("linear" in name for name in baselines(nothing, "float32", notes.append))
    assert notes == ["no linear model to compare with: no training row counts"]


def test_a_descent_that_has_not_converged_is_told_and_recorded(monkeypatch):
    monkeypatch.setattr(logistic, "_LEAST_EVALUATIONS", 3)
    monkeypatch.setattr(logistic, "_MOST_EVALUATIONS", 3)
    notes = []

    class Notes(distbp.Callback):
        def on_note(self, text):
            notes.append(text)

    result = distbp.train("digits", workers=0, epochs=1, callbacks=[Notes()])
    assert result.summary["linear_converged"] is False
    assert "the linear model had not converged after 3 evaluations: it may reach more than its figure" in notes


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


def test_linear_model_of_values_is_least_squares(rng):
    x = rng.normal(size=(500, 4))
    y = x @ [1.0, 2, 3, 4] + rng.normal(size=500)
    data = load((x, y), dtype="float64")
    theirs = LinearRegression().fit(data.train.x, data.train.y)
    found = baselines(data, "float64")
    assert found["linear_test_r2"] == pytest.approx(theirs.score(data.test.x, data.test.y), abs=1e-3)
    assert found["constant_test_r2"] == pytest.approx(0, abs=0.05)


def test_weights_count(rng):
    x, y = rng.normal(size=(400, 2)), np.arange(400) % 2
    found = baselines(load((x, y, np.where(y == 1, 5.0, 1.0))), "float32")
    assert found["constant_test_accuracy"] == 0.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6, 1e7, 1e9, 1e12])
def test_columns_that_say_the_same_are_least_squares_too(scale, dtype, rng):
    x = rng.normal(size=(500, 2))
    y = x @ [2.0, -1.0] + 3 + 0.1 * rng.normal(size=500)
    both = np.hstack([x, x, x.sum(axis=1, keepdims=True)]) * scale
    data, notes = load((both, y), dtype=dtype), []
    found = baselines(data, dtype, notes.append)
    with_one = [np.column_stack([part.x.astype(float) / scale, np.ones(len(part))]) for part in (data.train, data.test)]
    fitted = np.linalg.lstsq(with_one[0], data.train.y.astype(float), rcond=1e-6)[0]
    rmse = np.sqrt(np.mean(np.square(with_one[1] @ fitted - data.test.y)))
    assert found["linear_test_rmse"] == pytest.approx(rmse, rel=0.01)
    assert notes == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6, 1e7, 1e9, 1e12])
def test_columns_that_say_the_same_are_logistic_regression_too(scale, dtype, rng):
    x = rng.normal(size=(900, 2))
    y = (x @ rng.normal(size=(2, 3)) + rng.gumbel(size=(900, 3))).argmax(axis=1)
    data = load((np.repeat(x, 3, axis=1) * scale, y), dtype=dtype)
    theirs = LogisticRegression(C=1e4, max_iter=500).fit(data.train.x / scale, data.train.y)
    found = baselines(data, dtype)
    assert found["linear_test_accuracy"] == pytest.approx(theirs.score(data.test.x / scale, data.test.y), abs=0.012)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("start", [2**40, 2**60])
def test_numbers_of_rows_lose_nothing(start, task, rng):
    """Whole numbers that floats can hardly tell apart, twice: they say nothing, what is beside them counts."""
    number = start + np.arange(600)
    x = rng.normal(size=600)
    y = (x > 0).astype(int) if task == "classification" else 2 * x
    found = baselines(load((np.column_stack([number, number]), y), task=task), "float32")
    beside = baselines(load((np.column_stack([number, number, x]), y), task=task), "float32")
    if task == "classification":
        assert 0.3 < found["linear_test_accuracy"] < 0.7
        assert beside["linear_test_accuracy"] > 0.97
    else:
        assert abs(found["linear_test_r2"]) < 0.05
        assert beside["linear_test_r2"] > 0.999


@pytest.mark.parametrize("largest", [1e-40, 1e30, 3e38])
def test_any_size_gives_a_figure_or_a_note(largest, rng):
    """Warnings are errors here."""
    x = rng.uniform(-1, 1, size=(200, 3)) * largest
    for y in (np.arange(200) % 3, rng.normal(size=200) * min(largest, 1e30)):
        notes = []
        found = baselines(load((x, y)), "float32", notes.append)
        assert np.isfinite(list(found.values())).all()
        assert len(notes) == (not any("linear" in name for name in found))


def test_without_a_linear_model_the_run_goes_on(tmp_path, rng):
    y = np.where(np.arange(200) == 0, 1e300, rng.normal(size=200))
    found, notes = {}, []
    found = baselines(load((rng.normal(size=(200, 2)), y), dtype="float64"), "float64", notes.append)
    assert np.isfinite(list(found.values())).all()
    assert notes == ["no linear model to compare with: the numbers are too large for one"]
