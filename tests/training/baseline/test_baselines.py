"""Baselines: a constant and a linear model, with row weights, extreme numbers or no linear model at all."""

from dataclasses import replace

import numpy as np
import pytest

from distbp.data import load
from distbp.training.baseline import baselines


def test_baselines_respect_row_weights(rng):
    x, y = rng.normal(size=(400, 2)), np.arange(400) % 2
    found = baselines(load((x, y, np.where(y == 1, 5.0, 1.0))), "float32")
    assert found["constant_test_accuracy"] == 0.5


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_run_without_weighted_rows_has_no_linear_model(task, rng):
    data = load((rng.normal(size=(50, 2)), np.arange(50) % 2), task=task)
    nothing = replace(data, train=replace(data.train, weights=np.zeros(len(data.train), np.float32)))
    notes = []
    assert not any("linear" in name for name in baselines(nothing, "float32", notes.append))
    assert notes == ["no linear model to compare with: all training rows have weight 0"]


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("start", [2**40, 2**60])
def test_columns_of_row_numbers_do_no_harm(start, task, rng):
    """Two equal columns of integers at the limit of float precision are useless; the column next to them is used."""
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
def test_numbers_of_any_size_give_a_score_or_a_note(largest, rng):
    """A warning would be an error."""
    x = rng.uniform(-1, 1, size=(200, 3)) * largest
    for y in (np.arange(200) % 3, rng.normal(size=200) * min(largest, 1e30)):
        notes = []
        found = baselines(load((x, y)), "float32", notes.append)
        assert np.isfinite(list(found.values())).all()
        assert len(notes) == (not any("linear" in name for name in found))


def test_a_run_continues_without_a_linear_model(tmp_path, rng):
    y = np.where(np.arange(200) == 0, 1e300, rng.normal(size=200))
    found, notes = {}, []
    found = baselines(load((rng.normal(size=(200, 2)), y), dtype="float64"), "float64", notes.append)
    assert np.isfinite(list(found.values())).all()
    assert notes == ["no linear model to compare with: the numbers are too large for one"]
