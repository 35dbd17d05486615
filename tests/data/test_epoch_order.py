import numpy as np
import pytest

from distbp.data.epoch_order import EpochOrder


def epoch_of(order, epoch):
    first = epoch * order.steps_per_epoch
    return np.concatenate([order.rows(step) for step in range(first, first + order.steps_per_epoch)])


@pytest.mark.parametrize(("rows", "batch_size"), [(10, 5), (103, 20), (7, 7), (5, 100), (1, 1), (9, 1)])
def test_each_row_comes_once_per_epoch(rows, batch_size):
    order = EpochOrder(rows, batch_size, seed=0)
    for epoch in range(3):
        assert sorted(epoch_of(order, epoch).tolist()) == list(range(rows))


@pytest.mark.parametrize(
    ("rows", "batch_size", "sizes"), [(103, 20, [20] * 5 + [3]), (40, 20, [20, 20]), (5, 100, [5])]
)
def test_only_the_last_mini_batch_is_short(rows, batch_size, sizes):
    order = EpochOrder(rows, batch_size, seed=0)
    assert order.steps_per_epoch == len(sizes)
    assert [order.size(step) for step in range(2 * len(sizes))] == sizes * 2
    assert [len(order.rows(step)) for step in range(2 * len(sizes))] == sizes * 2


def test_epochs_differ():
    order = EpochOrder(100, 10, seed=0)
    first, second, third = (epoch_of(order, epoch).tolist() for epoch in range(3))
    assert first != second != third != first


def test_order_depends_on_the_seed():
    assert epoch_of(EpochOrder(100, 10, seed=0), 0).tolist() != epoch_of(EpochOrder(100, 10, seed=1), 0).tolist()
    assert (
        epoch_of(EpochOrder(100, 10, seed=2**64 - 1), 0).tolist()
        == epoch_of(EpochOrder(100, 10, seed=2**64 - 1), 0).tolist()
    )


def test_order_of_an_epoch_does_not_depend_on_the_batch_size():
    assert epoch_of(EpochOrder(100, 10, seed=3), 1).tolist() == epoch_of(EpochOrder(100, 33, seed=3), 1).tolist()


@pytest.mark.parametrize("step", [0, 7, 13, 29])
def test_order_can_be_read_from_any_position(step):
    walked = EpochOrder(97, 10, seed=5)
    for earlier in range(step):
        walked.rows(earlier)
    asked = EpochOrder(97, 10, seed=5)
    asked.rows(25)
    assert walked.rows(step).tolist() == asked.rows(step).tolist() == EpochOrder(97, 10, seed=5).rows(step).tolist()


@pytest.fixture
def small_windows(monkeypatch):
    """Use windows of 40 rows in runs of 8 for data of 100 rows or more."""
    monkeypatch.setattr("distbp.data.epoch_order._MOST_AT_ONCE", 100)
    monkeypatch.setattr("distbp.data.epoch_order._RUN", 8)
    monkeypatch.setattr("distbp.data.epoch_order._WINDOW", 40)


@pytest.mark.parametrize(("rows", "batch_size"), [(101, 7), (160, 40), (163, 100), (333, 1), (401, 90)])
def test_each_of_many_rows_comes_once_per_epoch(rows, batch_size, small_windows):
    order = EpochOrder(rows, batch_size, seed=0)
    for epoch in range(2):
        assert sorted(epoch_of(order, epoch).tolist()) == list(range(rows))


def test_order_of_many_rows_can_be_read_from_any_position(small_windows):
    walked, asked = EpochOrder(400, 30, seed=1), EpochOrder(400, 30, seed=1)
    every = [walked.rows(step).tolist() for step in range(3 * walked.steps_per_epoch)]
    for step in (17, 3, 40, 0, 22):
        assert asked.rows(step).tolist() == every[step]


def test_a_window_mixes_rows_of_distant_runs(small_windows):
    window = epoch_of(EpochOrder(400, 40, seed=0), 0)[:40]
    runs = sorted(set((window // 8).tolist()))
    assert len(runs) == 5
    assert runs[-1] - runs[0] > 5  # runs from distant positions
    assert (window[:-1] // 8 != window[1:] // 8).mean() > 0.5  # and rows of different runs alternate


def test_order_of_millions_of_rows_takes_constant_memory():
    order = EpochOrder(10**9, 128, seed=0)
    rows = order.rows(5_000_000)
    assert len(set(rows.tolist())) == 128
    assert rows.max() < 10**9
