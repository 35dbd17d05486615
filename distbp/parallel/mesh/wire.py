"""What numbers look like between hosts: as they are, or as float16 with error feedback."""

from __future__ import annotations

import math
import threading
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from distbp.data.dataset import Array

_DOWN = 112
"""A float32 times 2^-112 has float16's exponent in the lowest bits of its own: 127 - 15 less."""
_TOP = 15
"""A chunk's largest number becomes one of [2^14, 2^15), so that float16's small exponents are for the small ones."""
_LEAST = 2.0**-100
"""Below this float32 has no factor that is large enough: such a chunk travels as zeros, and is kept for later."""
_LARGE = 29
"""Above 2^29 float32 has no factor that is small enough to do both at once."""
_HALF_OF_THE_LAST_BIT, _KEPT_BITS = np.uint32(0x1000), np.uint32(0xFFFFE000)
_SIGN, _SIGN_AND_MAGNITUDE = np.uint32(0x8000), np.int32(-0x70002000)


class Packed(NamedTuple):
    """Numbers on their way."""

    scale: float
    """What the halves are to be multiplied by: a power of two, so that only the halves are rounded; 1 if exact."""
    body: memoryview


class Wire:
    """How sums and totals are packed.

    ``float16`` sends each chunk as halves (IEEE 754 binary16) with one scale; what rounding took away is added to what
    is sent next (error feedback, Seide et al., 2014), so that nothing is lost for good while a view lasts. Otherwise
    numbers travel as they are.
    """

    def __init__(self, wire: str, dtype: str) -> None:
        self.is_exact = wire == "exact"
        self._dtype = np.dtype(dtype)
        self._left: dict[Hashable, Array] = {}
        self._buffers: dict[Hashable, Array] = {}
        self._own = threading.local()

    def pack(self, numbers: Array, key: Hashable, step: int, read: Array | None = None) -> Packed:
        """Return what travels, valid for two steps; ``key`` names these numbers from step to step.

        ``read`` becomes what the other end will make of them. It may be ``numbers`` itself, and where they travel as
        they are it must be.
        """
        if self.is_exact:
            return Packed(1.0, bytes_of(numbers))
        count = len(numbers)
        left = self._left.setdefault(key, np.zeros(0, self._dtype))
        if len(left) != count:
            left = self._left[key] = np.zeros(count, self._dtype)
        halves = self._buffer(("halves", key, step % 2), count)
        with np.errstate(all="ignore"):
            np.add(numbers, left, out=left)
            scale = _scale(max(float(left.max()), -float(left.min())))
            factors, back = _factors(scale)
            scaled, *spare = self._scratch(count)
            _multiply(left, factors, scaled)
            _round_to_halves(scaled, halves, *spare)
            sent = self._own.sent[:count] if read is None else read
            _multiply(scaled, back, sent)
            np.subtract(left, sent, out=left)
        return Packed(scale, bytes_of(halves))

    def room(self, place: Array, key: Hashable) -> memoryview:
        """Return where the bytes that become these numbers are to be received; ``key`` tells such places apart."""
        return bytes_of(place if self.is_exact else self._buffer(("room", key), len(place)))

    def unpack(self, body: memoryview, place: Array, scale: float) -> None:
        """Turn what was received into :meth:`room` into numbers."""
        if self.is_exact:
            return
        halves, back = np.frombuffer(body, np.uint16), _factors(scale)[1]
        with np.errstate(all="ignore"):
            scaled = self._scratch(len(place))[0]
            _read_halves(halves, scaled)
            _multiply(scaled, back, place)

    def _buffer(self, key: Hashable, count: int) -> Array:
        if key not in self._buffers:
            self._buffers[key] = np.empty(count, np.uint16)
        return self._buffers[key]

    def _scratch(self, count: int) -> Array:
        """Return three arrays of this thread's own, shape (3, count)."""
        if getattr(self._own, "count", 0) < count:
            self._own.count, self._own.scratch = count, np.empty((3, count), np.float32)
            self._own.sent = np.empty(count, self._dtype)
        scratch: Array = self._own.scratch[:, :count]
        return scratch


def _scale(top: float) -> float:
    """Return the scale of numbers of which the largest has this magnitude."""
    if not math.isfinite(top):
        return math.nan
    return 2.0 ** (math.frexp(top if top > _LEAST else 1.0)[1] - _TOP)


def _factors(scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what turns numbers into ``2^-_DOWN`` times what their halves stand for, and what turns those back."""
    if not math.isfinite(scale):
        return (math.nan,), (math.nan,)
    exponent = math.frexp(scale)[1] - 1
    if exponent > _LARGE - _TOP:
        return (2.0**-exponent, 2.0**-_DOWN), (2.0**_DOWN, 2.0**exponent)
    return (2.0 ** -(_DOWN + exponent),), (2.0 ** (_DOWN + exponent),)


def _multiply(numbers: Array, factors: Sequence[float], out: Array) -> None:
    for factor in factors:
        np.multiply(numbers, factor, out=out, casting="same_kind")
        numbers = out


def _round_to_halves(scaled: Array, halves: Array, magnitudes: Array, signs: Array) -> None:
    """Round numbers that are ``2^-_DOWN`` times what they stand for to 11 bits, and write their halves.

    NumPy converts one number at a time (2.5 ns each where this takes 0.5): here the 16 bits are cut out of the 32.
    """
    bits = scaled.view(np.uint32)
    np.add(bits, _HALF_OF_THE_LAST_BIT, out=bits)
    np.bitwise_and(bits, _KEPT_BITS, out=bits)
    magnitudes, signs = magnitudes.view(np.uint32), signs.view(np.uint32)
    np.right_shift(bits, 13, out=magnitudes)
    np.right_shift(bits, 16, out=signs)
    np.bitwise_and(signs, _SIGN, out=signs)
    np.bitwise_or(magnitudes, signs, out=magnitudes)
    np.copyto(halves, magnitudes, casting="unsafe")  # the sign above the 16 bits is cut off


def _read_halves(halves: Array, scaled: Array) -> None:
    """Write what the halves stand for, times ``2^-_DOWN``."""
    bits = scaled.view(np.int32)
    np.copyto(bits, halves.view(np.int16))  # the sign fills the upper bits
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, _SIGN_AND_MAGNITUDE, out=bits)


def bytes_of(numbers: Array) -> memoryview:
    """Return a vector's own bytes."""
    return memoryview(numbers.view(np.uint8))  # type: ignore[arg-type]  # arrays have the buffer interface
