"""Costs and deltas stay finite and exact where a rounds to 0 or 1, without a warning (warnings are errors)."""

import numpy as np
import pytest

from distbp.nn.activations import ACTIVATIONS
from distbp.nn.costs import COSTS

LARGE = 1e4
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def cost_and_delta(name, z, y):
    cost, activation = COSTS[name], ACTIVATIONS[COSTS[name].output]
    a, delta = np.empty_like(z), np.empty_like(z)
    sums = cost.base_case(activation, z, a, y, delta, np.empty_like(z))
    return sums.costs.sum(), delta


@dtypes
@pytest.mark.parametrize("as_values", [False, True])
def test_cross_entropy_of_large_logits(dtype, as_values):
    z = np.array([[LARGE, -LARGE, 0]], dtype)
    for k, expected in enumerate([0.0, 2 * LARGE, LARGE]):
        y = np.eye(3, dtype=dtype)[[k]] if as_values else np.array([k])
        cost, delta = cost_and_delta("cross-entropy", z, y)
        assert cost == expected
        assert (delta == np.array([[1, 0, 0]]) - np.eye(3)[[k]]).all()


@dtypes
def test_cross_entropy_of_equal_large_logits_is_log_of_their_number(dtype):
    cost, delta = cost_and_delta("cross-entropy", np.full((1, 4), -LARGE, dtype), np.array([0]))
    assert cost == pytest.approx(np.log(4), rel=float(2 * np.finfo(dtype).eps))
    assert delta.tolist() == [[-0.75, 0.25, 0.25, 0.25]]


@dtypes
@pytest.mark.parametrize(
    ("z", "y", "expected_cost", "expected_delta"),
    [(LARGE, 1, 0, 0), (LARGE, 0, LARGE, 1), (-LARGE, 1, LARGE, -1), (-LARGE, 0, 0, 0)],
)
def test_binary_cross_entropy_of_large_logits(dtype, z, y, expected_cost, expected_delta):
    cost, delta = cost_and_delta("binary-cross-entropy", np.array([[z]], dtype), np.array([[y]], dtype))
    assert cost == expected_cost
    assert delta[0, 0] == pytest.approx(expected_delta, abs=1e-30)


@dtypes
def test_binary_cross_entropy_of_class_numbers_with_large_logits(dtype):
    z = np.array([[LARGE, -LARGE, LARGE]], dtype)
    cost, delta = cost_and_delta("binary-cross-entropy", z, np.array([1]))
    assert cost == 3 * LARGE
    assert delta[0] == pytest.approx([1, -1, 1], abs=1e-30)


@dtypes
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_large_logits_are_finite(dtype, name):
    z = np.array([[LARGE, -LARGE, 0]], dtype)
    a = np.empty_like(z)
    ACTIVATIONS[name].apply(z, out=a)
    expected = {
        "sigmoid": [1, 0, 0.5],
        "tanh": [1, -1, 0],
        "relu": [LARGE, 0, 0],
        "identity": [LARGE, -LARGE, 0],
        "softmax": [1, 0, 0],
        "leaky-relu": [LARGE, -LARGE / 100, 0],
        "elu": [LARGE, -1, 0],
        "gelu": [LARGE, 0, 0],
        "softplus": [LARGE, 0, np.log(2)],
        "swish": [LARGE, 0, 0],
    }[name]
    assert a[0] == pytest.approx(np.array(expected, dtype), rel=float(4 * np.finfo(dtype).eps), abs=1e-30)
    delta = np.ones_like(z)
    ACTIVATIONS[name].times_derivative(delta, a, z, np.empty_like(z))
    assert np.isfinite(delta).all()


def test_float32_sigmoid_is_accurate_near_0():
    z = np.linspace(-70, 70, 281, dtype=np.float32)
    a = np.empty_like(z)
    ACTIVATIONS["sigmoid"].apply(z, out=a)
    expected = 1 / (1 + np.exp(-z.astype(np.float64)))
    assert (np.abs(a - expected) <= 3 * np.finfo(np.float32).eps * expected).all()
