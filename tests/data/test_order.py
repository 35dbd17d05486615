import numpy as np
import pytest

from distbp.data.order import Order


def epoch_of(order, epoch):
    first = epoch * order.steps_per_epoch
    return np.concatenate([order.rows(step) for step in range(first, first + order.steps_per_epoch)])


@pytest.mark.parametrize(("rows", "batch_size"), [(10, 5), (103, 20), (7, 7), (5, 100), (1, 1), (9, 1)])
def test_each_row_comes_once_per_epoch(rows, batch_size):
    order = Order(rows, batch_size, seed=0)
    for epoch in range(3):
        assert sorted(epoch_of(order, epoch).tolist()) == list(range(rows))


@pytest.mark.parametrize(
    ("rows", "batch_size", "sizes"), [(103, 20, [20] * 5 + [3]), (40, 20, [20, 20]), (5, 100, [5])]
)
def test_only_the_last_mini_batch_is_short(rows, batch_size, sizes):
    order = Order(rows, batch_size, seed=0)
    assert order.steps_per_epoch == len(sizes)
    assert [order.size(step) for step in range(2 * len(sizes))] == sizes * 2
    assert [len(order.rows(step)) for step in range(2 * len(sizes))] == sizes * 2


def test_epochs_differ():
    order = Order(100, 10, seed=0)
    first, second, third = (epoch_of(order, epoch).tolist() for epoch in range(3))
    assert first != second != third != first


def test_order_depends_on_the_seed():
    assert epoch_of(Order(100, 10, seed=0), 0).tolist() != epoch_of(Order(100, 10, seed=1), 0).tolist()
    assert epoch_of(Order(100, 10, seed=2**64 - 1), 0).tolist() == epoch_of(Order(100, 10, seed=2**64 - 1), 0).tolist()


def test_order_of_an_epoch_does_not_depend_on_the_batch_size():
    assert epoch_of(Order(100, 10, seed=3), 1).tolist() == epoch_of(Order(100, 33, seed=3), 1).tolist()


@pytest.mark.parametrize("step", [0, 7, 13, 29])
def test_order_is_the_same_when_asked_in_the_middle(step):
    walked = Order(97, 10, seed=5)
    for earlier in range(step):
        walked.rows(earlier)
    asked = Order(97, 10, seed=5)
    asked.rows(25)
    assert walked.rows(step).tolist() == asked.rows(step).tolist() == Order(97, 10, seed=5).rows(step).tolist()
