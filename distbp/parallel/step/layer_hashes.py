"""A hash of each layer's parameters that is cheap enough to compute after every step.

It shows whether two runs still have the same bits, and in which layer they diverge. It is no protection against an
attacker. The hash is the sum of all words: it detects any single changed bit, but not swapped words, which no
arithmetic error produces. It takes 2 us for 784-30-10 and 40 us for 784-512-512-10, where CRC-32 takes 13 and 350.
"""

from __future__ import annotations

import numpy as np

from distbp.data.dataset import Array
from distbp.nn.structure import Structure

Words = tuple[tuple[Array, Array], ...]
"""Each layer's parameters as 64-bit words, and the 32 bits that may remain."""


def words_of(structure: Structure, flat: Array) -> Words:
    """Return views of a flat parameter vector for :func:`hashes`, for callers that hash it repeatedly."""
    layers = []
    for start, stop in zip(structure.bounds, structure.bounds[1:], strict=False):
        layer = flat[start:stop].view(np.uint32)
        even = len(layer) // 2 * 2
        layers.append((layer[:even].view(np.uint64), layer[even:]))
    return tuple(layers)


def hashes(words: Words) -> tuple[int, ...]:
    """Return the sum of each layer's words, modulo 2**64."""
    return tuple([(int(np.add.reduce(whole)) + (int(rest[0]) if len(rest) else 0)) % 2**64 for whole, rest in words])


def layer_hashes(structure: Structure, flat: Array) -> tuple[int, ...]:
    """Return a 64-bit hash of each layer's w and b.

    >>> structure = Structure((2, 1), ("identity",), "mse")
    >>> layer_hashes(structure, np.array([0.0, 0.0, 1.0], np.float32))
    (1065353216,)
    """
    return hashes(words_of(structure, flat))
