"""The factors of shard gradients in shared memory: workers write them, the mesh reads them."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np

from distbp.data.dataset import Array
from distbp.errors import ClusterError
from distbp.nn.structure import Structure


def factor_size(structure: Structure, layer: int, rows: int) -> int:
    """Return how many numbers travel for a layer (counted from 0) of a shard of so many rows."""
    m_prev, m = structure.sizes[layer], structure.sizes[layer + 1]
    return rows * (m + (m_prev if layer else 0))


def factorable_layers(structure: Structure, rows: int) -> list[int]:
    """Return the layers of which a shard's factors have fewer numbers than its product.

    >>> factorable_layers(Structure((784, 2048, 2048, 10), ("relu", "relu", "softmax"), "cross-entropy"), 512)
    [0, 1]
    """
    bounds = structure.bounds
    return [
        layer
        for layer in range(structure.depth)
        if factor_size(structure, layer, rows) < bounds[layer + 1] - bounds[layer]
    ]


class FactorStore:
    """The factors of this host's shards in its shared memory, where workers put them and the mesh reads them."""

    def __init__(
        self, folder: Path, structure: Structure, shards: int, rows: int, dtype: str, places: int, create: bool = False
    ) -> None:
        """Map them below ``folder``; ``rows`` are a shard's, at most. Each shard has so many places."""
        self._path = folder / "factors"
        self._dtype = np.dtype(dtype)
        self._places: dict[int, tuple[int, int]] = {}
        size = 0
        for layer in factorable_layers(structure, rows):
            length = factor_size(structure, layer, rows)
            self._places[layer] = size, length
            size += shards * length
        self._per_place, self._size = size, size * self._dtype.itemsize
        self._numbers: Array = np.empty(0, dtype)
        if size:
            handle = os.open(self._path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
            try:
                if create:
                    os.truncate(handle, places * self._size)
                self._numbers = np.frombuffer(mmap.mmap(handle, places * self._size), dtype)
            finally:
                os.close(handle)

    def reserve(self, place: int = 0) -> None:
        """Take the memory of one place of each shard, which is not taken before.

        Raises:
            ClusterError: there is too little.
        """
        handle = os.open(self._path, os.O_RDWR)
        try:
            if hasattr(os, "posix_fallocate"):  # macOS has none
                os.posix_fallocate(handle, place * self._size, self._size)
        except OSError as error:
            raise ClusterError(f"{self._size / 2**20:,.0f} MB of shared memory are not free for factors") from error
        finally:
            os.close(handle)

    def keep(self, layers: Array, place: int, shard: int, layer: int, delta: Array, a_prev: Array) -> None:
        """Keep a shard's factors, if its layer is one of those that travel so: where ``layers`` is not 0."""
        if not layers[layer]:
            return
        both = self.of(place, shard, layer, delta.size + (a_prev.size if layer else 0))
        both[: delta.size].reshape(delta.shape)[:] = delta
        if layer:
            both[delta.size :].reshape(a_prev.shape)[:] = a_prev

    def of(self, place: int, shard: int, layer: int, size: int) -> Array:
        """Return the factors of a shard, delta first, as one vector of so many numbers."""
        start, length = self._places[layer]
        start += place * self._per_place
        numbers: Array = self._numbers[start + shard * length : start + shard * length + size]
        return numbers
