"""Inverted dropout: each step drops hidden nodes at random and scales up the others (Srivastava et al. 2014).

A mask depends only on the seed, the step, the layer and the example's index in the mini-batch, so it is the same on
every worker. Prediction drops nothing and needs no scaling.
"""

from __future__ import annotations

import numpy as np

from distbp.nn.structure import Array, Structure
from distbp.randomness import Purpose

_NODES_PER_COUNT = 16
"""Nodes per value of the generator's counter, which yields 16 bits for each of them."""


class Dropout:
    """Generates the masks of the hidden layers for up to ``rows`` examples at a time.

    >>> structure = Structure((4, 6, 2), ("relu", "softmax"), "cross-entropy")
    >>> (mask,) = Dropout(structure, 3, "float32", 0.5, seed=0).masks(step=7, first=2, rows=3)
    >>> mask.shape, sorted(set(mask.ravel().tolist()))
    ((3, 6), [0.0, 2.0])
    """

    def __init__(self, structure: Structure, rows: int, dtype: str, share: float, seed: int) -> None:
        """Drop each hidden node with probability ``share``, rounded to the nearest 1/65536."""
        self._seed = seed
        self._below = round(share * 2**16)
        self._scale = 2**16 / (2**16 - self._below)
        self._masks = [np.empty((rows, m), dtype) for m in structure.sizes[1:-1]]

    def masks(self, step: int, first: int, rows: int) -> list[Array]:
        """Return each hidden layer's mask for ``rows`` examples of a mini-batch, starting with example ``first``.

        Elements are 0 or 1 / (1 - share). The masks are valid until the next call.
        """
        masks = [whole[:rows] for whole in self._masks]
        for l, mask in enumerate(masks, start=1):
            counts = -(-mask.shape[1] // _NODES_PER_COUNT)
            counter = np.array([first * counts, step, l, 0], np.uint64)
            bits = np.random.Philox(key=np.array([self._seed, Purpose.DROPOUT], np.uint64), counter=counter)
            # Comparing raw bits as integers takes a sixth of the time of random floats.
            numbers = bits.random_raw(rows * counts * 4).view(np.uint16).reshape(rows, -1)[:, : mask.shape[1]]
            np.multiply(numbers >= self._below, self._scale, out=mask, casting="unsafe")
        return masks
