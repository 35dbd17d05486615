"""Sufficient factors of shard gradients in shared memory: workers write them, the mesh reads and sends them.

The gradient of a layer over a shard, (delta^l)^T a^{l-1}, is the product of two smaller matrices, its sufficient
factors. Sending these instead of the product is sufficient factor broadcasting (Xie et al. 2014; in a parameter
server: Poseidon, Zhang et al. 2017). See :mod:`distbp.parallel.mesh.factors`.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np

from distbp.data.dataset import Array
from distbp.errors import ClusterError
from distbp.nn.structure import Structure


def factor_size(structure: Structure, layer: int, rows: int) -> int:
    """Return how many numbers a shard of ``rows`` rows sends as factors of a layer (counted from 0).

    The first layer sends delta^1 alone, since every host has the rows of x.
    """
    m_prev, m = structure.sizes[layer], structure.sizes[layer + 1]
    return rows * (m + (m_prev if layer else 0))


def factorable_layers(structure: Structure, rows: int) -> list[int]:
    """Return the layers whose factors over a shard of ``rows`` rows have fewer numbers than their gradient.

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
    """The factors of this host's shards in shared memory.

    Every shard has several slots: while a straggler still writes to one, the next attempt uses another.
    """

    def __init__(
        self, folder: Path, structure: Structure, shards: int, rows: int, dtype: str, slots: int, create: bool = False
    ) -> None:
        """Map the store in ``folder`` for shards of at most ``rows`` rows, with ``slots`` slots each."""
        self._path = folder / "factors"
        self._dtype = np.dtype(dtype)
        self._layers: dict[int, tuple[int, int]] = {}
        """Per layer: where the factors of the first shard start in a slot, and the space for each shard."""
        size = 0
        for layer in factorable_layers(structure, rows):
            length = factor_size(structure, layer, rows)
            self._layers[layer] = size, length
            size += shards * length
        self._slot_numbers, self._slot_bytes = size, size * self._dtype.itemsize
        self._numbers: Array = np.empty(0, dtype)
        if size:
            handle = os.open(self._path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
            try:
                if create:
                    os.truncate(handle, slots * self._slot_bytes)
                self._numbers = np.frombuffer(mmap.mmap(handle, slots * self._slot_bytes), dtype)
            finally:
                os.close(handle)

    def reserve(self, slot: int = 0) -> None:
        """Allocate the memory of one slot of every shard; until then the file is sparse.

        Raises:
            ClusterError: there is too little shared memory.
        """
        handle = os.open(self._path, os.O_RDWR)
        try:
            if hasattr(os, "posix_fallocate"):  # macOS has no posix_fallocate
                os.posix_fallocate(handle, slot * self._slot_bytes, self._slot_bytes)
        except OSError as error:
            megabytes = self._slot_bytes / 2**20
            raise ClusterError(f"{megabytes:,.0f} MB of shared memory are not free for factors") from error
        finally:
            os.close(handle)

    def write(self, layers: Array, slot: int, shard: int, layer: int, delta: Array, a_prev: Array) -> None:
        """Write a shard's factors of a layer if ``layers[layer]`` is not 0, that is if the mesh sends them."""
        if not layers[layer]:
            return
        factors = self.read(slot, shard, layer, delta.size + (a_prev.size if layer else 0))
        factors[: delta.size].reshape(delta.shape)[:] = delta
        if layer:
            factors[delta.size :].reshape(a_prev.shape)[:] = a_prev

    def read(self, slot: int, shard: int, layer: int, size: int) -> Array:
        """Return a view of a shard's factors of a layer, ``size`` numbers: delta^l, then a^{l-1}."""
        start, length = self._layers[layer]
        start += slot * self._slot_numbers
        numbers: Array = self._numbers[start + shard * length : start + shard * length + size]
        return numbers
