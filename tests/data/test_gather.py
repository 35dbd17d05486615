import numpy as np
import pytest

from distbp.data.dataset import PIXEL_FACTOR, Gather, Rows

dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@dtypes
def test_bytes_are_scaled_to_0_to_1(dtype):
    rows = Rows(np.array([[0, 255, 51]], np.uint8), np.array([0]), PIXEL_FACTOR)
    x, _ = Gather(rows, 1, dtype)(np.array([0]))
    assert x.dtype == dtype
    assert x[0].tolist() == [0, 1, pytest.approx(0.2, rel=1e-7)]
    assert x[0, 1] == 1  # exactly


@dtypes
def test_digits_are_scaled_by_their_own_factor(dtype, digits):
    x, _ = Gather(digits.train, 50, dtype)(np.arange(50))
    assert (x == digits.train.x[:50] / 16).all()


def test_floats_are_copied_unchanged(rng):
    rows = Rows(rng.random((20, 3), dtype=np.float32), rng.random((20, 2), dtype=np.float32))
    places = np.array([19, 0, 7, 7])
    x, y = Gather(rows, 4, "float32")(places)
    assert x.tobytes() == rows.x[places].tobytes()
    assert y.tobytes() == rows.y[places].tobytes()
    x[:] = 0
    assert rows.x.all()


def test_float32_rows_are_converted_for_float64_arithmetic(rng):
    rows = Rows(rng.random((20, 3), dtype=np.float32), np.zeros(20, np.int64))
    x, _ = Gather(rows, 20, "float64")(np.arange(20))
    assert x.dtype == np.float64
    assert (x == rows.x).all()


def test_fewer_rows_than_the_capacity_fill_only_part_of_the_buffer(rng):
    rows = Rows(rng.random((20, 3)), np.arange(20))
    gather = Gather(rows, 8, "float64")
    gather(np.arange(8))
    x, y = gather(np.array([5, 2]))
    assert x.tolist() == rows.x[[5, 2]].tolist()
    assert y.tolist() == [5, 2]


def test_a_subset_of_rows_keeps_the_factor():
    rows = Rows(np.zeros((4, 2), np.uint8), np.arange(4), PIXEL_FACTOR)[1:3]
    assert (len(rows), rows.y.tolist(), rows.factor) == (2, [1, 2], PIXEL_FACTOR)
