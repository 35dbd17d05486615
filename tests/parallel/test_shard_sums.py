"""Workers send sums, not means: only their sum, divided once, is the gradient of the mini-batch."""

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest

from distbp.nn.backprop import Backprop
from distbp.nn.structure import Structure
from distbp.parallel.step.shards import Span, additions

STRUCTURE = Structure((6, 8, 3), ("tanh", "softmax"), "cross-entropy")


@pytest.fixture
def shard_gradient(rng):
    """Return the gradient's sum over rows first..stop of one mini-batch."""
    flat = rng.normal(size=STRUCTURE.parameter_count)
    x, y = rng.normal(size=(40, 6)), rng.integers(0, 3, 40)

    def gradient(first, stop):
        out = np.empty_like(flat)
        backprop = Backprop(STRUCTURE, stop - first, "float64")
        backprop.gradient(STRUCTURE.layers(flat), x[first:stop], y[first:stop], STRUCTURE.layers(out))
        return out

    return gradient


def tree_sum(vectors):
    shards = {Span(i, i + 1): vector for i, vector in enumerate(vectors)}
    buffers = {}
    for out, left, right in additions(Span(0, len(vectors)), shards):
        buffers[out] = sum(shards[part] if isinstance(part, Span) else buffers[part] for part in (left, right))
    return buffers[0]


sizes = pytest.mark.parametrize("sizes", [(2, 5), (1, 39), (5, 3, 1), (7, 7, 6, 6), (1, 2, 3, 4, 5)])


def cut_by(sizes, shard_gradient):
    bounds = np.cumsum((0, *sizes))
    return [shard_gradient(first, stop) for first, stop in pairwise(bounds)]


@sizes
def test_shard_gradients_sum_to_the_gradient_of_the_mini_batch(sizes, shard_gradient):
    mean = tree_sum(cut_by(sizes, shard_gradient)) / sum(sizes)
    whole = shard_gradient(0, sum(sizes)) / sum(sizes)
    assert mean == pytest.approx(whole, rel=0, abs=1e-15)


def test_two_shards_add_up_to_the_last_bit(shard_gradient):
    first, second = cut_by((2, 5), shard_gradient)
    assert ((first + second) / 7).tobytes() == (tree_sum([first, second]) / 7).tobytes()


def test_tree_of_four_adds_neighbours_first(rng):
    vectors = rng.random((4, 1000), dtype=np.float32)
    a, b, c, d = vectors
    assert tree_sum(vectors).tobytes() == ((a + b) + (c + d)).tobytes()
    assert tree_sum(vectors).tobytes() != reduce(np.add, vectors).tobytes()  # the order is part of the result


@pytest.mark.parametrize("sizes", [(2, 5), (1, 39), (5, 3, 1)])
def test_the_mean_of_shard_means_is_a_different_gradient(sizes, shard_gradient):
    means = [gradient / size for gradient, size in zip(cut_by(sizes, shard_gradient), sizes, strict=True)]
    whole = shard_gradient(0, sum(sizes)) / sum(sizes)
    assert np.abs(np.mean(means, axis=0) - whole).max() > 1e-3
