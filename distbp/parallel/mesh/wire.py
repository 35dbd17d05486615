"""The wire format of numbers between hosts: exact, or float16 with error feedback."""

from __future__ import annotations

import math
import threading
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from distbp.data.dataset import Array

_DOWN = 112
"""A float32 times 2^-112 has the exponent bits of a float16: their biases differ by 127 - 15."""
_TOP = 15
"""A chunk is scaled so that its largest number lies in [2^14, 2^15), which leaves the most range for small ones."""
_LEAST = 2.0**-100
"""Below this, no float32 factor is large enough: such a chunk is sent as zeros, and its numbers are kept as error."""
_LARGE = 29
"""Above 2^29, no single float32 factor is small enough; two are used."""
_HALF_OF_THE_LAST_BIT, _KEPT_BITS = np.uint32(0x1000), np.uint32(0xFFFFE000)
_SIGN, _SIGN_AND_MAGNITUDE = np.uint32(0x8000), np.int32(-0x70002000)


class Packed(NamedTuple):
    """Numbers in wire format."""

    scale: float
    """Factor of the halves: a power of two, so that it causes no rounding; 1 if exact."""
    body: memoryview


class Wire:
    """Packs and unpacks sums and totals.

    With ``float16``, a chunk is sent as halves (IEEE 754 binary16) with one scale. The rounding error is added to the
    same numbers of the next step (error feedback, Seide et al., 2014), so that no error is lost for the duration of a
    view. Otherwise numbers are sent unchanged.
    """

    def __init__(self, wire: str, dtype: str) -> None:
        self.is_exact = wire == "exact"
        self._dtype = np.dtype(dtype)
        self._errors: dict[Hashable, Array] = {}
        self._buffers: dict[Hashable, Array] = {}
        self._own = threading.local()

    def pack(self, numbers: Array, key: Hashable, step: int, read: Array | None = None) -> Packed:
        """Return the numbers in wire format, valid for two steps; ``key`` identifies the same numbers in every step.

        ``read`` receives the numbers as the receiver will read them. It may be ``numbers`` itself; in the exact format
        it has to be.
        """
        if self.is_exact:
            return Packed(1.0, bytes_of(numbers))
        count = len(numbers)
        error = self._errors.setdefault(key, np.zeros(0, self._dtype))
        if len(error) != count:
            error = self._errors[key] = np.zeros(count, self._dtype)
        halves = self._buffer(("halves", key, step % 2), count)
        with np.errstate(all="ignore"):
            corrected = np.add(numbers, error, out=error)
            scale = _scale(max(float(corrected.max()), -float(corrected.min())))
            factors, back = _factors(scale)
            scaled, *spare = self._scratch(count)
            _multiply(corrected, factors, scaled)
            _round_to_halves(scaled, halves, *spare)
            sent = self._own.sent[:count] if read is None else read
            _multiply(scaled, back, sent)
            np.subtract(corrected, sent, out=error)
        return Packed(scale, bytes_of(halves))

    def buffer_for(self, numbers: Array, key: Hashable) -> memoryview:
        """Return the receive buffer for ``numbers``; ``key`` identifies it."""
        return bytes_of(numbers if self.is_exact else self._buffer(("received", key), len(numbers)))

    def unpack(self, body: memoryview, out: Array, scale: float) -> None:
        """Write the numbers received in the buffer of :meth:`buffer_for` into ``out``."""
        if self.is_exact:
            return
        halves, back = np.frombuffer(body, np.uint16), _factors(scale)[1]
        with np.errstate(all="ignore"):
            scaled = self._scratch(len(out))[0]
            _read_halves(halves, scaled)
            _multiply(scaled, back, out)

    def _buffer(self, key: Hashable, count: int) -> Array:
        if key not in self._buffers:
            self._buffers[key] = np.empty(count, np.uint16)
        return self._buffers[key]

    def _scratch(self, count: int) -> Array:
        """Return thread-local scratch of shape (3, count)."""
        if getattr(self._own, "count", 0) < count:
            self._own.count, self._own.scratch = count, np.empty((3, count), np.float32)
            self._own.sent = np.empty(count, self._dtype)
        scratch: Array = self._own.scratch[:, :count]
        return scratch


def _scale(top: float) -> float:
    """Return the scale for numbers whose largest magnitude is ``top``."""
    if not math.isfinite(top):
        return math.nan
    return 2.0 ** (math.frexp(top if top > _LEAST else 1.0)[1] - _TOP)


def _factors(scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the factors from numbers to ``2^-_DOWN`` times the values of their halves, and the factors back."""
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
    """Round numbers, scaled by ``2^-_DOWN``, to 11 significant bits in place, and write them as halves.

    This cuts the 16 bits out of the 32, which takes 0.5 ns per number; NumPy's own conversion takes 2.5.
    """
    bits = scaled.view(np.uint32)
    np.add(bits, _HALF_OF_THE_LAST_BIT, out=bits)
    np.bitwise_and(bits, _KEPT_BITS, out=bits)
    magnitudes, signs = magnitudes.view(np.uint32), signs.view(np.uint32)
    np.right_shift(bits, 13, out=magnitudes)
    np.right_shift(bits, 16, out=signs)
    np.bitwise_and(signs, _SIGN, out=signs)
    np.bitwise_or(magnitudes, signs, out=magnitudes)
    np.copyto(
        halves, magnitudes, casting="unsafe"
    )  # the cast drops the upper 16 bits, which are only copies of the sign


def _read_halves(halves: Array, scaled: Array) -> None:
    """Write the values of the halves, scaled by ``2^-_DOWN``."""
    bits = scaled.view(np.int32)
    np.copyto(bits, halves.view(np.int16))  # sign extension fills the upper bits
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, _SIGN_AND_MAGNITUDE, out=bits)


def bytes_of(numbers: Array) -> memoryview:
    """Return a view of a vector's bytes."""
    return memoryview(numbers.view(np.uint8))  # type: ignore[arg-type]  # arrays support the buffer protocol
