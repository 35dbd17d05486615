import numpy as np
import pytest

from distbp.nn.structure import Structure
from distbp.parallel.step.layer_hashes import layer_hashes

STRUCTURE = Structure((3, 4, 5, 2), ("relu", "relu", "softmax"), "cross-entropy")  # layers of 16, 25 and 12 parameters


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_flipped_bit_changes_the_hash_of_its_layer_and_no_other(dtype, rng):
    flat = rng.random(STRUCTURE.parameter_count).astype(dtype)
    before = layer_hashes(STRUCTURE, flat)
    for place in range(STRUCTURE.parameter_count):
        layer = int(np.searchsorted(STRUCTURE.bounds, place, side="right")) - 1
        for bit in range(8 * flat.itemsize):
            flat.view(np.uint8)[place * flat.itemsize + bit // 8] ^= 1 << bit % 8
            after = layer_hashes(STRUCTURE, flat)
            flat.view(np.uint8)[place * flat.itemsize + bit // 8] ^= 1 << bit % 8
            assert [one != other for one, other in zip(before, after, strict=True)] == [l == layer for l in range(3)]


def test_the_memory_address_does_not_matter(rng):
    flat = rng.random(STRUCTURE.parameter_count).astype("float32")
    for shift in range(4):
        elsewhere = np.empty(shift + len(flat), "float32")[shift:]
        elsewhere[:] = flat
        assert layer_hashes(STRUCTURE, elsewhere) == layer_hashes(STRUCTURE, flat)
