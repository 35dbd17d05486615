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
