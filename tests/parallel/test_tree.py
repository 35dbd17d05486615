import time
from functools import cache
from itertools import accumulate

import numpy as np
import pytest

from distbp.parallel.step.shards import Span, additions, buffers_for, children, cut, subtrees

COUNTS = range(1, 18)
counts = pytest.mark.parametrize("shards", COUNTS)


def all_spans(shards):
    return [Span(first, stop) for first in range(shards) for stop in range(first + 1, shards + 1)]


def add_up(node, available):
    """Return the sum of ``node`` from the sums in ``available``, following the plan."""
    plan, buffers = additions(node, available), {}
    for out, left, right in plan:
        operands = [available[part] if isinstance(part, Span) else buffers[part] for part in (left, right)]
        buffers[out] = operands[0] + operands[1]
    return buffers[0] if plan else available[node]


@pytest.mark.parametrize("parts", range(1, 20))
@counts
def test_cut_covers_everything_once_in_nearly_equal_parts(shards, parts):
    spans = cut(shards, parts)
    assert [i for span in spans for i in range(*span)] == list(range(shards))
    assert len(spans) == min(shards, parts)
    lengths = [span.stop - span.first for span in spans]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 1


def test_cut_of_nothing_has_no_parts():
    assert cut(0, 3) == []


@pytest.mark.parametrize("shards", COUNTS[1:])
def test_children_are_neighbours_and_the_left_one_a_power_of_two(shards):
    node = Span(3, 3 + shards)
    left, right = children(node)
    size = left.stop - left.first
    assert (left.first, left.stop, right.stop) == (node.first, right.first, node.stop)
    assert size & (size - 1) == 0
    assert size >= right.stop - right.first > 0


@counts
def test_subtrees_hold_every_shard_of_the_range_once(shards):
    for span in all_spans(shards):
        assert [i for node in subtrees(span, shards) for i in range(*node)] == list(range(*span))


@counts
def test_subtrees_are_nodes_of_the_tree_and_no_two_have_one_parent(shards):
    parents, todo = {}, [Span(0, shards)]
    while todo:
        node = todo.pop()
        if node.stop - node.first > 1:
            for child in children(node):
                parents[child] = node
                todo.append(child)
    for whole in all_spans(shards):
        found = subtrees(whole, shards)
        assert all(span in parents or span == (0, shards) for span in found)
        assert len({parents.get(span) for span in found}) == len(found)


@counts
def test_any_number_of_workers_adds_up_to_the_same_bits(shards, rng):
    gradients = (rng.normal(size=(shards, 257)) * 10.0 ** rng.integers(-3, 4, (shards, 1))).astype(np.float32)
    alone = {Span(i, i + 1): gradient for i, gradient in enumerate(gradients)}
    root = Span(0, shards)
    expected = add_up(root, alone).tobytes()
    for workers in range(1, shards + 1):
        sums = {}
        for span in cut(shards, workers):
            sums |= {node: add_up(node, alone) for node in subtrees(span, shards)}
        assert add_up(root, sums).tobytes() == expected


@counts
def test_the_tree_uses_at_most_one_buffer_per_level(shards):
    plan = additions(Span(0, shards), [Span(i, i + 1) for i in range(shards)])
    assert len(plan) == shards - 1
    assert max((out for out, _, _ in plan), default=0) <= max((shards - 1).bit_length() - 1, 0)


@counts
def test_missing_shard_is_named(shards):
    for missing in range(shards):
        available = [Span(i, i + 1) for i in range(shards) if i != missing]
        if shards == 1:
            continue
        with pytest.raises(ValueError, match=f"^shard {missing} is missing$"):
            additions(Span(0, shards), available)


def test_missing_only_shard_is_named():
    with pytest.raises(ValueError, match="shard 0 is missing"):
        additions(Span(0, 1), [])


@cache
def most_subtrees(shards, workers):
    """Return by definition the most sums that one of exactly so many workers passes on."""
    return max(len(subtrees(span, shards)) for span in cut(shards, workers))


@pytest.mark.parametrize("shards", range(1, 41))
def test_there_are_as_many_buffers_as_any_worker_needs_even_in_a_short_mini_batch(shards):
    needed = [
        max(most_subtrees(of, min(of, workers)) for of in range(1, shards + 1)) for workers in range(1, shards + 1)
    ]
    assert [buffers_for(shards, most) for most in range(1, shards + 1)] == list(accumulate(needed, max))


def test_105_shards_need_more_than_the_depth_of_the_tree():
    assert buffers_for(104, 104) == 6
    assert buffers_for(105, 105) == 7 == max(most_subtrees(105, workers) for workers in range(1, 106))


def test_buffers_for_a_thousand_shards_are_counted_quickly():
    began = time.process_time()
    assert buffers_for(1000, 1000) < 20
    assert time.process_time() - began < 1.0  # trying all spans would take hours
