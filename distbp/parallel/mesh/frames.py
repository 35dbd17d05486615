"""What travels between hosts: a header of a fixed size, and the raw bytes that it tells of, both under a checksum.

TCP's own checksum has 16 bits and ends at the network card; what a card, a switch or a memory module flips past it
would be added up like any gradient. The checksum finds that and no forgery: a keyed one costs more (HMAC-SHA256 does
0.8 GB/s on one core) or drags in a package (AES-GMAC), and whoever can change packets can read them too, so people are
kept out by an encrypted network or not at all.

Long bodies are summed as rows of 64-bit words, column by column, and the sums go through CRC-32: 40 GB/s, where CRC-32
over everything does 7. Any single wrong word changes a sum. So does a piece that lies in another place, since rows are
no multiple of a page or a packet; what is not found is wrong in two words of one column at least, by amounts that are
each other's negative.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np

HEARTBEAT, REPORT, PART, TOTAL, FACTORS, RESEND = range(6)
_FIELDS = struct.Struct("<BqIIdII")
_CHECK = struct.Struct("<I")
HEADER_SIZE = _FIELDS.size + _CHECK.size
_LONG = 1 << 15
"""Bytes from which on sums are quicker than CRC-32."""
_WIDTH = 631
"""Words in a row: a prime number, and below 5 kB, from which on zlib lets other threads go on, which costs more."""
_ROW = 8 * _WIDTH


class DamagedError(Exception):
    """A peer sent what cannot be meant."""


class ChecksumError(DamagedError):
    """What came is not what was sent."""


class Frame(NamedTuple):
    """A header: what follows it, and where that belongs."""

    kind: int
    step: int
    chunk: int
    node: int
    scale: float
    """What float16 numbers are to be multiplied by."""
    size: int
    """Bytes that follow."""
    check: int
    """Their checksum."""

    @classmethod
    def of(cls, kind: int, step: int, chunk: int, node: int, scale: float, body: memoryview) -> Frame:
        """Return the frame of a body, which must stay as it is until it is sent."""
        return cls(kind, step, chunk, node, scale, len(body), checksum(body))

    def again(self) -> Frame:
        """Return the frame that asks for this one again: its ``scale`` is the kind that is asked for."""
        return Frame(RESEND, self.step, self.chunk, self.node, float(self.kind), 0, 0)

    def header(self) -> bytes:
        """Return this as bytes."""
        fields = _FIELDS.pack(*self)
        return fields + _CHECK.pack(zlib.crc32(fields))

    @classmethod
    def read(cls, header: memoryview) -> Frame:
        """Return what :meth:`header` was called on.

        Raises:
            ChecksumError: the bytes are not those.
        """
        if _CHECK.unpack_from(header, _FIELDS.size)[0] != zlib.crc32(header[: _FIELDS.size]):
            raise ChecksumError("a header that was damaged on its way")
        return cls(*_FIELDS.unpack_from(header))

    def check_body(self, body: memoryview) -> None:
        """Raise ChecksumError if this is not the body that was sent."""
        if checksum(body) != self.check:
            raise ChecksumError(f"{self.size} bytes of step {self.step} that were damaged on their way")


def checksum(body: memoryview) -> int:
    """Return 32 bits that tell bytes apart, as described above.

    >>> checksum(memoryview(b"123456789")) == zlib.crc32(b"123456789")
    True
    """
    if len(body) < _LONG:
        return zlib.crc32(body)
    rows = len(body) // _ROW
    words = np.frombuffer(body, np.uint64, rows * _WIDTH).reshape(rows, _WIDTH)
    return zlib.crc32(body[rows * _ROW :], zlib.crc32(np.add.reduce(words)))
