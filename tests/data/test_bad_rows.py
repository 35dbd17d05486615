"""Rows that cannot be trained on are refused with one line that names the place."""

import numpy as np
import pytest

from distbp.data import load
from distbp.errors import DataError


def parts(**changed):
    """Return the arrays of a complete archive, some of them replaced."""
    rng = np.random.default_rng(0)
    whole = {
        "x_train": rng.random((8, 3)),
        "y_train": np.arange(8) % 2,
        "x_test": rng.random((4, 3)),
        "y_test": np.arange(4) % 2,
    }
    return {name: array for name, array in (whole | changed).items() if array is not None}


def x_with(value, row, column, dtype=float):
    x = np.ones((8, 3), dtype)
    x[row, column] = value
    return x


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_train": x_with(np.nan, 5, 2)}, "x_train row 5 column 2 is nan"),
        ({"x_train": x_with(-np.inf, 0, 1)}, "x_train row 0 column 1 is -inf"),
        ({"x_test": x_with(np.inf, 3, 0)[:4]}, "x_test row 3 column 0 is inf"),
        ({"x_train": x_with(1e39, 2, 1)}, r"x_train row 2 column 1 is 1e\+39, too large for float32"),
        ({"x_train": x_with("red", 6, 1, "<U5")}, "x_train must hold numbers, found text .'red' in row 6 column 1"),
        ({"x_train": np.ones((8, 3), complex)}, "x_train must hold numbers, found complex numbers"),
        ({"x_train": np.ones((8, 3), "datetime64[s]")}, "x_train must hold numbers, found dates"),
        ({"x_train": np.ones((8, 0))}, "x_train has no rows or no columns"),
        ({"x_train": np.ones((0, 3)), "y_train": np.ones(0)}, "x_train has no rows or no columns"),
        ({"x_train": np.ones((7, 3))}, "train part has 7 rows but 8 targets"),
        ({"y_test": np.ones(5, int)}, "test part has 4 rows but 5 targets"),
        ({"y_train": np.array(1)}, "train part needs rows of x and as many targets"),
        ({"x_test": np.ones((4, 2))}, "x_train has 3 columns, x_test 2"),
        ({"x_test": np.ones((4, 3), np.uint8)}, "x_train holds float32, x_test uint8"),
        ({"y_test": np.array([0, 1, 7, 0])}, "y_test row 2 is 7, which is none of the classes 0, 1"),
        ({"y_test": np.array(["a", "b"] * 2)}, "y_test holds <U1, the classes are 0, 1"),
        ({"y_train": np.full(8, 3)}, "all training rows are of class 3: at least two classes"),
        ({"y_train": np.full(8, 0.5), "y_test": np.ones((4, 2))}, "y_train has 1 values per row, y_test 2"),
        ({"y_train": x_with(np.nan, 4, 1), "y_test": np.ones((4, 3))}, "y_train row 4 column 1 is nan"),
        ({"y_test": None}, "holds x_train but no y_test"),
        ({"x_test": None}, "holds x_train but no x_test"),
    ],
)
def test_archive_is_refused(changed, message, tmp_path):
    np.savez(tmp_path / "bad.npz", **parts(**changed))
    with pytest.raises(DataError, match=message):
        load(tmp_path / "bad.npz")


def test_unchanged_archive_is_loaded(tmp_path):
    np.savez(tmp_path / "good.npz", **parts())
    data = load(tmp_path / "good.npz")
    assert (len(data.train), len(data.test), data.name) == (8, 4, "good")


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full((8, 2), 1), "y has 2 columns: classes need one label per row"),
        (np.array([0, 1, np.nan, 1, 0, 1, 0, 1]), "y row 2 is nan: expected a class"),
        (np.ones(8, complex), "y holds complex128: classes are text, booleans or whole numbers"),
    ],
)
def test_targets_that_are_not_classes_are_refused(y, message):
    with pytest.raises(DataError, match=message):
        load((np.ones((8, 3)), y), task="classification")


def test_text_as_values_is_refused():
    with pytest.raises(DataError, match=r"y_train must hold numbers, found text \('low' in row 0 column 0\)"):
        load((np.ones((8, 3)), np.array(["low"] * 8)), task="regression")


def test_too_few_rows_for_a_test_part_are_refused():
    with pytest.raises(DataError, match=r"2 rows are too few to hold out a fraction of 0\.2"):
        load((np.ones((2, 3)), np.array([0, 1])))


def test_numbers_too_large_for_float32_are_accepted_in_float64():
    assert load((x_with(1e39, 0, 0), np.arange(8) % 2), dtype="float64").train.x.dtype == np.float64


@pytest.mark.parametrize("source", [([[1.0]], 3), ([[1.0, 2.0], [3.0]], [0, 1])])
def test_arrays_that_are_not_a_table_are_refused_even_when_joined(source):
    with pytest.raises(DataError):
        load(source, source)


@pytest.mark.parametrize("before", range(10))
def test_class_of_a_single_row_stays_in_the_training_part(before):
    y = np.array([0] * before + [1] + [2] * (9 - before))
    data = load((np.ones((10, 2)), y), test_fraction=0.4)
    assert 1 in data.classes
    assert len(data.test) == 4
