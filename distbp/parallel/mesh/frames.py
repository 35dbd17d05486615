"""Frames between hosts: a header of fixed size, followed by a body of raw bytes; checksums cover both.

TCP's own checksum has 16 bits and ends at the network card. Bits that a card, a switch or a memory module flips beyond
it would be added up like any gradient. This checksum detects such damage, but no forgery: a keyed one costs more
(HMAC-SHA256 does 0.8 GB/s on one core) or needs another package (AES-GMAC), and an attacker who can change packets can
also read them. Only an encrypted network protects against that.

Long bodies are summed as rows of 64-bit words, column by column, and CRC-32 is taken of the sums: 40 GB/s, where CRC-32
of everything does 7. Any single wrong word changes a sum. So does a displaced piece, since the row length is no
multiple of a page or a packet. Damage goes unnoticed only if it changes at least two words of one column by opposite
amounts.
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
"""Length in bytes above which sums are faster than CRC-32."""
_WIDTH = 631
"""Words per row: a prime number, and below 5 kB, above which zlib releases the GIL, which costs more."""
_ROW = 8 * _WIDTH


class DamagedError(Exception):
    """A peer sent something invalid."""


class ChecksumError(DamagedError):
    """A message was damaged on its way."""


class Frame(NamedTuple):
    """The header of a message: its kind, the position of its body in the exchange, and the body's size and checksum."""

    kind: int
    step: int
    chunk: int
    node: int
    scale: float
    """Factor by which float16 numbers have to be multiplied."""
    size: int
    """Bytes of the body."""
    check: int
    """Checksum of the body."""

    @classmethod
    def of(cls, kind: int, step: int, chunk: int, node: int, scale: float, body: memoryview) -> Frame:
        """Return a frame for the body, which must not change until the frame has been sent."""
        return cls(kind, step, chunk, node, scale, len(body), checksum(body))

    def resend_request(self) -> Frame:
        """Return the frame that requests this one again; its ``scale`` is the kind of the requested frame."""
        return Frame(RESEND, self.step, self.chunk, self.node, float(self.kind), 0, 0)

    def header(self) -> bytes:
        """Return the header as bytes."""
        fields = _FIELDS.pack(*self)
        return fields + _CHECK.pack(zlib.crc32(fields))

    @classmethod
    def read(cls, header: memoryview) -> Frame:
        """Return the frame with this header.

        Raises:
            ChecksumError: the header is damaged.
        """
        if _CHECK.unpack_from(header, _FIELDS.size)[0] != zlib.crc32(header[: _FIELDS.size]):
            raise ChecksumError("a header that was damaged on its way")
        return cls(*_FIELDS.unpack_from(header))

    def check_body(self, body: memoryview) -> None:
        """Raise ChecksumError if the body is damaged."""
        if checksum(body) != self.check:
            raise ChecksumError(f"{self.size} bytes of step {self.step} that were damaged on their way")


def checksum(body: memoryview) -> int:
    """Return the 32-bit checksum of a body (see above).

    >>> checksum(memoryview(b"123456789")) == zlib.crc32(b"123456789")
    True
    """
    if len(body) < _LONG:
        return zlib.crc32(body)
    rows = len(body) // _ROW
    words = np.frombuffer(body, np.uint64, rows * _WIDTH).reshape(rows, _WIDTH)
    return zlib.crc32(body[rows * _ROW :], zlib.crc32(np.add.reduce(words)))
