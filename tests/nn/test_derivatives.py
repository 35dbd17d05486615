"""Compare every derivative with central differences in float64."""

import numpy as np
import pytest

from distbp.nn.activations import ACTIVATIONS
from distbp.nn.backprop import Backprop
from distbp.nn.costs import COSTS
from distbp.nn.structure import Structure

STEP = 1e-5
HIDDEN = [name for name in ACTIVATIONS if name != "softmax"]
ROWS = 6


def central_differences(cost, vector):
    slopes = np.empty_like(vector)
    for i, kept in enumerate(vector):
        vector[i] = kept + STEP
        above = cost(vector)
        vector[i] = kept - STEP
        slopes[i] = (above - cost(vector)) / (2 * STEP)
        vector[i] = kept
    return slopes


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_times_derivative_is_the_slope_of_apply(name, rng):
    z, dc_da = rng.normal(size=(2, 3, 5))
    assert np.abs(z).min() > 10 * STEP  # no z is near relu's kink
    a = np.empty_like(z)

    def cost(flat):
        ACTIVATIONS[name].apply(flat.reshape(z.shape), out=a)
        return float(np.vdot(dc_da, a))

    expected = central_differences(cost, z.ravel().copy())
    ACTIVATIONS[name].apply(z, out=a)
    delta = dc_da.copy()
    ACTIVATIONS[name].times_derivative(delta, a, z, np.empty_like(a))
    assert relative_error(delta.ravel(), expected) < 1e-6


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_may_overwrite_z(name, rng):
    z = rng.normal(size=(3, 5))
    a = np.empty_like(z)
    ACTIVATIONS[name].apply(z, out=a)
    ACTIVATIONS[name].apply(z, out=z)
    assert a.tobytes() == z.tobytes()


def test_relu_has_slope_0_at_0():
    delta = np.ones((1, 2))
    ACTIVATIONS["relu"].times_derivative(delta, *np.array([[[0.0, 0.5]]] * 2), np.empty((1, 2)))
    assert delta.tolist() == [[0.0, 1.0]]


def check_whole_gradient(structure, y, rng):
    flat = rng.normal(0, 0.7, structure.parameter_count)
    layers = structure.layers(flat)
    x = rng.normal(size=(ROWS, structure.sizes[0]))
    backprop = Backprop(structure, ROWS, "float64", keep_z=True)
    gradient = np.empty_like(flat)
    backprop.gradient(layers, x, y, structure.layers(gradient))
    for z, name in zip(backprop.forward(layers, x).z, structure.activations, strict=True):
        if name == "relu":
            assert np.abs(z).min() > 20 * STEP  # no difference crosses the kink

    def cost(_):
        return backprop.sums(layers, x, y).cost

    expected = central_differences(cost, flat)
    assert relative_error(gradient, expected) < 1e-6
    for found, wanted in zip(structure.layers(gradient), structure.layers(expected), strict=True):
        assert relative_error(found.w, wanted.w) < 1e-6
        assert relative_error(found.b, wanted.b) < 1e-6


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("sizes", [(4, 5, 3), (4, 5, 4, 3)])
def test_gradient_through_hidden_layers(hidden, sizes, rng):
    structure = Structure(sizes, (*[hidden] * (len(sizes) - 2), "softmax"), "cross-entropy")
    check_whole_gradient(structure, rng.integers(0, 3, ROWS), rng)


@pytest.mark.parametrize("targets", ["class numbers", "values"])
@pytest.mark.parametrize(
    ("cost", "output"),
    [(cost, output) for cost in COSTS for output in ACTIVATIONS if COSTS[cost].output in (None, output)],
)
def test_gradient_of_every_cost_and_output(cost, output, targets, rng):
    structure = Structure((4, 5, 3), ("tanh", output), cost)
    y = rng.integers(0, 3, ROWS)
    if targets == "values":
        y = rng.dirichlet(np.ones(3), ROWS)  # rows sum to 1: cross-entropy needs targets that are probabilities
    check_whole_gradient(structure, y, rng)


@pytest.mark.parametrize("targets", ["class numbers", "values"])
@pytest.mark.parametrize("cost", ["mse", "binary-cross-entropy"])
def test_gradient_of_one_node(cost, targets, rng):
    y = rng.integers(0, 2, ROWS) if targets == "class numbers" else rng.random((ROWS, 1))
    check_whole_gradient(Structure((4, 5, 1), ("tanh", "sigmoid"), cost), y, rng)


@pytest.mark.parametrize("cost", ["mse", "binary-cross-entropy"])
def test_class_number_is_the_target_value_of_a_single_node(cost, rng):
    structure = Structure((4, 1), ("sigmoid",), cost)
    flat, x, y = rng.normal(size=5), rng.normal(size=(ROWS, 4)), rng.integers(0, 2, ROWS)
    backprop, gradients = Backprop(structure, ROWS, "float64"), np.empty((2, 5))
    by_number = backprop.gradient(structure.layers(flat), x, y, structure.layers(gradients[0]))
    by_value = backprop.gradient(structure.layers(flat), x, y[:, None] * 1.0, structure.layers(gradients[1]))
    assert gradients[0].tobytes() == gradients[1].tobytes()
    assert by_number.cost == pytest.approx(by_value.cost, rel=1e-14)


@pytest.mark.parametrize(("cost", "output"), [("mse", "sigmoid"), ("binary-cross-entropy", "sigmoid")])
def test_class_number_equals_its_one_hot_vector(cost, output, rng):
    structure = Structure((4, 3), (output,), cost)
    flat, x = rng.normal(size=structure.parameter_count), rng.normal(size=(ROWS, 4))
    y = rng.integers(0, 3, ROWS)
    backprop, gradients = Backprop(structure, ROWS, "float64"), np.empty((2, flat.size))
    by_number = backprop.gradient(structure.layers(flat), x, y, structure.layers(gradients[0]))
    by_vector = backprop.gradient(structure.layers(flat), x, np.eye(3)[y], structure.layers(gradients[1]))
    assert gradients[0].tobytes() == gradients[1].tobytes()
    assert by_number.cost == pytest.approx(by_vector.cost, rel=1e-14)


def test_gradient_has_the_same_bits_when_z_is_not_stored(rng):
    structure = Structure((4, 5, 5, 3), ("relu", "sigmoid", "softmax"), "cross-entropy")
    flat, x = rng.normal(size=structure.parameter_count), rng.normal(size=(ROWS, 4))
    gradients = np.empty((2, flat.size))
    for gradient, keep_z in zip(gradients, (False, True), strict=True):
        backprop = Backprop(structure, ROWS, "float64", keep_z)
        backprop.gradient(structure.layers(flat), x, np.arange(ROWS) % 3, structure.layers(gradient))
    assert gradients[0].tobytes() == gradients[1].tobytes()


def test_mean_squared_error_is_the_lectures_sum_of_squares():
    structure = Structure((2, 2), ("identity",), "mse")
    layers = structure.layers(np.array([1.0, 0, 0, 1, 0, 0]))  # a = x
    y = np.array([[0.0, 1.0], [1.0, 3.0]])
    assert Backprop(structure, 2, "float64").sums(layers, np.array([[0.5, 2.0], [1.0, 0.0]]), y).cost == 0.25 + 1 + 9


@pytest.mark.parametrize(("cost", "output"), [("mse", "sigmoid"), ("cross-entropy", "softmax")])
def test_right_is_the_number_of_rows_whose_largest_output_is_their_class(cost, output):
    z = np.array([[3.0, 1, 2], [1, 3, 2], [0, 1, 5], [9, 8, 7]])
    a, delta, scratch = np.empty((3, *z.shape))
    sums = COSTS[cost].base_case(ACTIVATIONS[output], z, a, np.array([0, 1, 1, 2]), delta, scratch)
    assert sums.right == 2


def test_a_single_sigmoid_node_predicts_the_second_class_above_one_half():
    z, y = np.array([[2.0], [-2.0], [2.0], [-2.0]]), np.array([1, 0, 0, 0])
    a, delta, scratch = np.empty((3, *z.shape))
    assert COSTS["binary-cross-entropy"].base_case(ACTIVATIONS["sigmoid"], z, a, y, delta, scratch).right == 3


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("targets", ["class numbers", "values"])
def test_base_case_does_not_change_z_and_y(name, targets, rng):
    z, a, delta, scratch = rng.normal(size=(4, ROWS, 3))
    y = rng.integers(0, 3, ROWS) if targets == "class numbers" else rng.random((ROWS, 3))
    z.flags.writeable = y.flags.writeable = False
    COSTS[name].base_case(ACTIVATIONS[COSTS[name].output or "tanh"], z, a, y, delta, scratch)


def test_more_rows_than_the_capacity_are_refused():
    structure = Structure((4, 3), ("softmax",), "cross-entropy")
    backprop = Backprop(structure, 2, "float64")
    with pytest.raises(ValueError, match="built for 2 rows, got 3"):
        backprop.forward(structure.layers(np.zeros(structure.parameter_count)), np.zeros((3, 4)))
