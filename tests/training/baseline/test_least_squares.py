"""Compare the linear model of values with least squares in float64 and with a ridge chosen step by step."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from distbp.data import load
from distbp.training.baseline import baselines


def with_ones(part):
    return np.column_stack([part.x.astype(np.float64), np.ones(len(part))])


def least_squares_rmse(data):
    """Return the test RMSE of least squares with a constant term, in float64."""
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
def test_units_and_offsets_do_not_affect_the_linear_model(rows, times, shift, constant, stored, columns, rng):
    x = rng.normal(size=(rows, columns))
    y = constant + 2 * x[:, 0] + rng.normal(size=rows)
    data = load(((x * times + shift).astype(stored), y))
    found = baselines(data, "float32")
    assert found["linear_test_rmse"] == pytest.approx(least_squares_rmse(data), rel=0.01)
    assert found["constant_test_rmse"] > 1.5 * found["linear_test_rmse"]


def test_a_relation_without_noise_is_found_exactly(rng):
    x = rng.normal(size=(300, 3))
    found = baselines(load((x, 5 + x @ [1.0, -2.0, 0.5]), dtype="float64"), "float64")
    assert found["linear_test_rmse"] < 1e-9


def test_constant_columns_have_no_effect(rng):
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
    """Return constant and coefficients of the ridge with the lowest generalized cross-validation error."""
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
def test_the_ridge_for_many_columns_is_chosen_by_cross_validation(columns, weighted, rng):
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


def test_each_of_several_values_has_its_own_ridge(rng):
    """One value is noise, the other is an exact function of the inputs."""
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


def test_linear_model_of_values_is_least_squares(rng):
    x = rng.normal(size=(500, 4))
    y = x @ [1.0, 2, 3, 4] + rng.normal(size=500)
    data = load((x, y), dtype="float64")
    theirs = LinearRegression().fit(data.train.x, data.train.y)
    found = baselines(data, "float64")
    assert found["linear_test_r2"] == pytest.approx(theirs.score(data.test.x, data.test.y), abs=1e-3)
    assert found["constant_test_r2"] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6, 1e7, 1e9, 1e12])
def test_duplicate_columns_give_least_squares(scale, dtype, rng):
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
