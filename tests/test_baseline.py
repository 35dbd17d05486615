import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from distbp.baseline import baselines
from distbp.data import load


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
