"""Dropout: a mask depends only on seed, step and the example's position; gradients respect the masks."""

import numpy as np
import pytest

from distbp.config import Config
from distbp.data.dataset import Rows
from distbp.nn.backprop import Backprop
from distbp.nn.dropout import Dropout
from distbp.nn.initialization import initial_weights
from distbp.nn.structure import Structure
from distbp.parallel.step.executor import InProcessExecutor
from distbp.training.executors import initial_state


def structure(activation="relu"):
    return Structure((5, 40, 17, 3), (activation, activation, "softmax"), "cross-entropy")


@pytest.mark.parametrize("cut", [[12], [5, 7], [1, 4, 3, 4]])
def test_masks_of_an_example_do_not_depend_on_the_worker(cut):
    whole = [mask.copy() for mask in Dropout(structure(), 12, "float32", 0.3, 1).masks(9, 0, 12)]
    first = 0
    for rows in cut:
        part = Dropout(structure(), 12, "float32", 0.3, 1).masks(9, first, rows)
        for mask, all_rows in zip(part, whole, strict=True):
            assert np.array_equal(mask, all_rows[first : first + rows])
        first += rows


def test_masks_differ_by_seed_step_layer_and_position():
    def drawn(seed=1, step=9, first=0):
        return [mask.copy() for mask in Dropout(structure(), 4, "float32", 0.5, seed).masks(step, first, 4)]

    here = drawn()
    for other in (drawn(seed=2), drawn(step=10), drawn(first=4)):
        assert all(not np.array_equal(one, two) for one, two in zip(here, other, strict=True))
    assert not np.array_equal(here[0][:, :17], here[1])
    assert not np.array_equal(here[0][0], here[0][1])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_masks_drop_the_given_fraction_and_keep_the_mean(share):
    wide = Structure((5, 1000, 3), ("relu", "softmax"), "cross-entropy")
    (mask,) = Dropout(wide, 500, "float64", share, 0).masks(0, 0, 500)
    assert abs((mask == 0).mean() - share) < 0.005
    assert abs(mask.mean() - 1) < 5 * np.sqrt(share / (1 - share) / mask.size)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "identity"])
def test_gradient_with_dropout_agrees_with_central_differences(activation, rng):
    made = structure(activation)
    weights = initial_weights(made, "glorot", 3, "float64") + 0.01 * rng.normal(size=made.parameter_count)
    x, y = rng.normal(size=(6, 5)), rng.integers(0, 3, 6)
    backprop, out = Backprop(made, 6, "float64", dropout=True), np.empty_like(weights)
    masks = Dropout(made, 6, "float64", 0.4, 0).masks(0, 0, 6)

    def cost(flat):
        return backprop.gradient(made.layers(flat), x, y, made.layers(np.empty_like(flat)), masks).cost

    backprop.gradient(made.layers(weights), x, y, made.layers(out), masks)
    for place in rng.choice(made.parameter_count, 60, replace=False):
        step = np.zeros_like(weights)
        step[place] = 1e-6
        assert out[place] == pytest.approx((cost(weights + step) - cost(weights - step)) / 2e-6, abs=1e-7, rel=1e-5)


def run(shards, **settings):
    random = np.random.default_rng(0)
    rows = Rows(random.random((50, 5)), random.integers(0, 3, 50))
    config = Config(batch_size=16, shards=shards, dtype="float64", **settings)
    pool = InProcessExecutor(structure(), config, rows, initial_state(structure(), config))
    list(pool.steps(9))
    return pool.state()[0]


def test_masks_do_not_depend_on_the_number_of_shards():
    whole = run(1, dropout=0.5)
    for shards in (2, 3, 5):
        assert np.allclose(run(shards, dropout=0.5), whole, rtol=0, atol=1e-12)
    assert not np.allclose(run(1), whole, rtol=0, atol=1e-3)
