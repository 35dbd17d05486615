"""Numbers sent as float16 between hosts."""

import numpy as np
import pytest

from distbp.parallel.mesh.wire import Wire


def sent(wire, numbers, key="layer", step=0):
    """Return the numbers that the sender expects the receiver to read, and the halves; check the receiver."""
    read, got = np.empty_like(numbers), np.empty_like(numbers)
    packed = wire.pack(numbers, key, step, read)
    wire.unpack(packed.body, got, packed.scale)
    np.testing.assert_array_equal(got, read)
    return read, np.frombuffer(packed.body, np.int16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 16_384, 40_001])
@pytest.mark.parametrize("top", [1e-25, 1e-3, 1.0, 5e8, 6e8, 1e12, 3e38])
def test_halves_are_those_of_ieee_754_except_for_ties(rng, dtype, count, top):
    numbers = rng.standard_normal(count) * 10.0 ** rng.uniform(-6, 3, count)
    numbers = (numbers * (top / np.abs(numbers).max())).astype(dtype)
    read, halves = sent(Wire("float16", dtype), numbers)
    scale = 2.0 ** (np.floor(np.log2(float(np.abs(numbers).max()))) - 14)
    expected = (numbers.astype(float) / scale).astype(np.float32).astype(np.float16)
    apart = np.abs(expected.view(np.int16).astype(int) - halves)
    assert apart.max() <= 1
    assert np.mean(apart) < 0.01
    np.testing.assert_array_equal(read.astype(float), halves.view(np.float16).astype(float) * scale)


def test_float64_beyond_the_range_of_float32_is_sent(rng):
    numbers = rng.standard_normal(100) * 1e300
    read, _ = sent(Wire("float16", "float64"), numbers)
    np.testing.assert_allclose(read, numbers, rtol=2.0**-11, atol=1e300 * 2.0**-22)


def test_rounding_errors_are_sent_later(rng):
    wire, total = Wire("float16", "float32"), np.zeros(100)
    numbers = rng.standard_normal(100).astype(np.float32)
    for step in range(1000):
        total += sent(wire, numbers, step=step)[0]
    # after any number of steps, at most one rounding error is missing
    assert np.abs(total - 1000.0 * numbers).max() < 2.0**-10 * np.abs(numbers).max()


def test_rounding_errors_are_kept_even_if_the_sender_reads_nothing(rng):
    wires = [Wire("float16", "float32") for _ in range(2)]
    for step in range(3):
        numbers = rng.standard_normal(20_000).astype(np.float32)
        one, other = (
            wires[0].pack(numbers, "layer", step),
            wires[1].pack(numbers, "layer", step, np.empty_like(numbers)),
        )
        assert one.scale == other.scale
        assert one.body == other.body
    in_place = Wire("float16", "float32").pack(numbers, "layer", 0, numbers)
    assert np.array_equal(np.frombuffer(in_place.body, np.float16) * np.float32(in_place.scale), numbers)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_too_small_to_be_sent_are_kept_for_later(dtype):
    wire = Wire("float16", dtype)
    assert not sent(wire, np.array([1e-36, -1e-40, 0], dtype))[0].any()
    assert sent(wire, np.array([1.0, 0, 0], dtype), step=1)[0].tolist() == [1, 0, 0]
    for step in range(2, 40):  # the remaining error shrinks
        assert np.isfinite(sent(wire, np.zeros(3, dtype), step=step)[0]).all()


def test_nan_and_infinity_arrive_as_not_finite():
    wire = Wire("float16", "float32")
    for number in (np.nan, np.inf, -np.inf):
        assert not np.isfinite(sent(wire, np.array([number, 1], np.float32), str(number))[0]).any()


@pytest.mark.parametrize("scale", [0.0, -1.0, 5e-324, 1.7e308, np.inf, np.nan])
def test_any_received_scale_can_be_read(scale):
    wire, got = Wire("float16", "float32"), np.zeros(3, np.float32)
    wire.unpack(memoryview(np.array([0, 1, 30_000], np.float16)).cast("B"), got, scale)
    assert np.isfinite(got[2]) == (scale < 1e30)
