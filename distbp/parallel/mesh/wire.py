"""What numbers look like between hosts: as they are, or as float16 with error feedback."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np

from distbp.data.dataset import Array


class Packed(NamedTuple):
    """Numbers on their way."""

    scale: float
    body: memoryview
    read: Array
    """What the other end will make of them."""


class Wire:
    """How sums and totals are packed.

    ``float16`` sends each chunk divided by its largest magnitude and rounded to 11 bits; what rounding took away is
    added to what is sent next (error feedback, Seide et al., 2014), so that nothing is lost for good.
    """

    def __init__(self, wire: str, dtype: str) -> None:
        self.is_exact = wire == "exact"
        self._dtype = np.dtype(dtype)
        self._left: dict[Hashable, Array] = {}

    def pack(self, numbers: Array, key: Hashable) -> Packed:
        """Return what travels; ``key`` names these numbers from step to step."""
        if self.is_exact:
            return Packed(1.0, _bytes_of(numbers), numbers)
        with np.errstate(all="ignore"):
            left = self._left.get(key)
            whole = numbers + left if left is not None and len(left) == len(numbers) else numbers.copy()
            scale = self._dtype.type(max(-whole.min(), whole.max()) or 1.0)
            packed = (whole / scale).astype(np.float16)
            read = np.multiply(packed, scale, dtype=self._dtype)
            np.subtract(whole, read, out=whole)
        self._left[key] = whole
        return Packed(float(scale), _bytes_of(packed), read)

    def room(self, place: Array) -> memoryview:
        """Return where the bytes that become these numbers are to be received."""
        return _bytes_of(place if self.is_exact else np.empty(len(place), np.float16))

    def unpack(self, body: memoryview, place: Array, scale: float) -> None:
        """Turn what was received into :meth:`room` into numbers."""
        if not self.is_exact:
            np.multiply(np.frombuffer(body, np.float16), self._dtype.type(scale), out=place, dtype=self._dtype)


def _bytes_of(numbers: Array) -> memoryview:
    return memoryview(numbers.view(np.uint8))  # type: ignore[arg-type]  # arrays have the buffer interface
