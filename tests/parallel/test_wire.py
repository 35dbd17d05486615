"""Numbers as halves between hosts."""

import numpy as np
import pytest

from distbp.parallel.mesh.wire import Wire


def test_both_ends_read_the_same_halves(rng):
    wire, got = Wire("float16", "float32"), np.empty(10_000, np.float32)
    numbers = (rng.standard_normal(10_000) * 10.0 ** rng.uniform(-6, 3, 10_000)).astype(np.float32)
    sent = wire.pack(numbers, "layer", 0)
    wire.unpack(sent.body, got, sent.scale)
    assert np.array_equal(got, sent.read)
    # what IEEE 754 makes of the scaled numbers, but for ties, which go up here
    scaled = numbers * np.float32(2.0**14 / np.abs(numbers).max())
    apart = np.abs(scaled.astype(np.float16).view(np.int16).astype(int) - np.frombuffer(sent.body, np.int16))
    assert apart.max() <= 1
    assert len(sent.body) == 2 * len(numbers)


def test_what_rounding_took_away_is_sent_later(rng):
    wire, total = Wire("float16", "float32"), np.zeros(100)
    numbers = rng.standard_normal(100).astype(np.float32)
    for step in range(1000):
        total += wire.pack(numbers, "layer", step).read
    # never more than one rounding is missing, however many steps were done
    assert np.abs(total - 1000.0 * numbers).max() < 2.0**-10 * np.abs(numbers).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float16_keeps_numbers_that_are_too_small_to_travel_for_later(dtype):
    wire, small = Wire("float16", dtype), np.array([1e-36, -1e-40, 0], dtype)
    assert not wire.pack(small, "layer", 0).read.any()
    sent = wire.pack(np.array([1.0, 0, 0], dtype), "layer", 1)
    assert sent.read.tolist() == [1, 0, 0]
    for step in range(2, 40):  # what is left over becomes less and less
        assert np.isfinite(wire.pack(np.zeros(3, dtype), "layer", step).read).all()


def test_float16_lets_what_is_no_number_be_seen_at_the_other_end():
    wire, got = Wire("float16", "float32"), np.zeros(2, np.float32)
    for number in (np.nan, np.inf, -np.inf):
        sent = wire.pack(np.array([number, 1], np.float32), str(number), 0)
        wire.unpack(sent.body, got, sent.scale)
        assert not np.isfinite(got).any()
