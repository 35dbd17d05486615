import numpy as np
import pyarrow
import pytest
from sklearn.metrics import accuracy_score, mean_squared_error, r2_score

import distbp
from distbp.data import load
from distbp.data.targets import class_numbers
from distbp.errors import DataError, UsageError
from distbp.model.network import Network, evaluate

dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
LABELS = ("bird", "cat", "dog")
ROWS = 2500  # more than one block of a prediction


def classifier(dtype="float64", output="softmax", cost="cross-entropy"):
    return Network((5, 8, 3), "tanh", output, cost, classes=LABELS, dtype=dtype, seed=1)


def regressor(values=2, dtype="float64"):
    return Network((5, 8, values), "tanh", "identity", "mse", dtype=dtype, seed=1)


def by_hand(network, x):
    (w1, b1), (w2, b2) = network.structure.layers(network.weights.astype(np.float64))
    return np.tanh(x @ w1.T + b1) @ w2.T + b2


def test_network_has_the_initial_weights_of_its_scheme_and_seed():
    assert Network((5, 3), seed=1).weights.tobytes() == Network((5, 3), seed=1).weights.tobytes()
    assert Network((5, 3), seed=1).weights.tobytes() != Network((5, 3), seed=2).weights.tobytes()
    relu, he, glorot = (Network((5, 3), "relu", initial=name).weights.tobytes() for name in (None, "he", "glorot"))
    assert relu == he != glorot
    assert Network((5, 3), "tanh", initial=None).weights.tobytes() == glorot


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": (5,)}, "at least an input and an output"),
        ({"sizes": (5, 3), "initial": "hee"}, "unknown initial 'hee': did you mean 'he'"),
        ({"sizes": (5, 4, 3), "activation": "rleu"}, "did you mean 'relu'"),
        ({"sizes": (5, 3), "output": "sigmoid"}, "needs the output activation softmax"),
        ({"sizes": (5, 3), "dtype": "float33"}, "dtype"),
        ({"sizes": (5, 3), "dtype": "int32"}, "dtype"),
        ({"sizes": (5, 3), "seed": -1}, "seed"),
        ({"sizes": (5, 2.7)}, "2.7"),
        ({"sizes": (5, 3), "classes": ("a", "b")}, "classes"),
    ],
)
def test_invalid_network_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        Network(**arguments)


@dtypes
def test_outputs_are_a_of_the_last_layer(dtype, rng):
    x, network = rng.random((ROWS, 5)), regressor(dtype=dtype)
    assert network.outputs(x).dtype == dtype
    assert network.outputs(x) == pytest.approx(by_hand(network, x), rel=1e-4, abs=1e-5)
    assert network.predict(x).tobytes() == network.outputs(x).tobytes()


@dtypes
def test_probabilities_of_classes_sum_to_1(dtype, rng):
    x, network = rng.random((ROWS, 5)), classifier(dtype)
    z = by_hand(network, x)
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert network.probabilities(x) == pytest.approx(expected, rel=1e-4)
    assert network.probabilities(x).sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_single_node_gives_the_probabilities_of_two_classes(rng):
    x = rng.normal(size=(40, 5))
    network = Network((5, 8, 1), "tanh", "sigmoid", "binary-cross-entropy", classes=("no", "yes"), dtype="float64")
    yes = 1 / (1 + np.exp(-by_hand(network, x)[:, 0]))
    assert network.probabilities(x) == pytest.approx(np.column_stack([1 - yes, yes]), rel=1e-12)
    assert network.predict(x).tolist() == ["yes" if p > 0.5 else "no" for p in yes]
    assert len(set(network.predict(x))) == 2


def test_prediction_is_the_class_of_the_largest_output(rng):
    x, network = rng.normal(size=(ROWS, 5)), classifier()
    assert network.predict(x).tolist() == [LABELS[k] for k in by_hand(network, x).argmax(axis=1)]
    assert len(set(network.predict(x))) == 3


def test_bytes_are_scaled_to_0_to_1(rng):
    x, network = rng.integers(0, 256, (20, 5), dtype=np.uint8), classifier()
    assert network.outputs(x) == pytest.approx(network.outputs(x / 255), rel=1e-12)


def test_loaded_network_predicts_the_same_bits(rng, tmp_path):
    x, network = rng.normal(size=(ROWS, 5)), classifier("float32")
    network.save(tmp_path / "model")
    loaded = Network.load(tmp_path / "model")
    assert loaded.outputs(x).tobytes() == network.outputs(x).tobytes()
    assert loaded.predict(x).tolist() == network.predict(x).tolist()


@dtypes
@pytest.mark.parametrize(("output", "cost"), [("softmax", "cross-entropy"), ("sigmoid", "mse")])
def test_scores_of_a_classifier_equal_those_of_sklearn(output, cost, dtype, rng):
    x, y = rng.normal(size=(ROWS, 5)), rng.choice(LABELS, ROWS)
    network = classifier(dtype, output, cost)
    found = network.evaluate(x, y)
    assert found.accuracy == accuracy_score(y, network.predict(x))
    assert 0.1 < found.accuracy < 0.9
    assert (found.rows, found.rmse, found.r2) == (ROWS, None, None)
    aim = np.eye(3)[class_numbers(y, LABELS, "y")]
    a = network.outputs(x).astype(np.float64)
    costs = np.square(a - aim) if cost == "mse" else -aim * np.log(a)
    assert found.cost == pytest.approx(costs.sum(axis=1).mean(), rel=1e-5)


@dtypes
@pytest.mark.parametrize("values", [1, 2])
def test_scores_of_a_regressor_equal_those_of_sklearn(values, dtype, rng):
    network = regressor(values, dtype)
    x = rng.normal(size=(ROWS, 5))
    y = by_hand(network, x) + rng.normal(0, 0.3, (ROWS, values))
    found, predicted = network.evaluate(x, y), network.predict(x)
    assert found.rmse == pytest.approx(np.sqrt(mean_squared_error(y, predicted)), rel=1e-6)
    assert found.r2 == pytest.approx(r2_score(y, predicted), rel=1e-5)
    assert 0.3 < found.r2 < 0.99
    assert found.cost == pytest.approx(values * found.rmse**2, rel=1e-6)
    assert found.accuracy is None


@pytest.mark.parametrize("y", [1.0, 0.1])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_r2_of_constant_values_is_1_if_predicted_exactly_else_0(y, offset):
    network = Network((1, 1), output="identity", cost="mse", dtype="float64")
    network.weights[:] = [0, y + offset]
    assert network.evaluate(np.ones((3, 1)), np.full(3, y)).r2 == (0 if offset else 1)


@dtypes
def test_accuracy_is_that_of_the_predictions_even_if_all_sigmoids_are_1(dtype):
    network = Network((1, 3), output="sigmoid", cost="mse", classes=LABELS, dtype=dtype)
    network.weights[:] = [50, 60, 55, 0, 0, 0]
    x, y = [[1.0]], ["cat"]
    assert network.evaluate(x, y).accuracy == accuracy_score(y, network.predict(x)) == 1


def test_accuracy_of_a_single_node_is_that_of_the_predictions_near_one_half():
    network = Network((1, 1), output="sigmoid", cost="binary-cross-entropy", classes=(0, 1))
    network.weights[:] = [1e-9, 0]
    assert network.evaluate([[1.0]], [1]).accuracy == accuracy_score([1], network.predict([[1.0]]))


def test_accuracy_of_a_single_node_with_squared_error_is_that_of_the_predictions():
    network = Network((1, 1), output="sigmoid", cost="mse", classes=(0, 1))
    network.weights[:] = [5, 0]
    assert network.predict([[1.0], [-1.0]]).tolist() == [1, 0]
    assert network.evaluate([[1.0], [-1.0]], [1, 0]).accuracy == 1


def test_rows_of_a_data_set_and_their_numbers_have_equal_scores(digits):
    network = Network((64, 10), classes=range(10))
    assert evaluate(network, digits.test) == network.evaluate(digits.test.x / np.float32(16), digits.test.y)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((2, 4)), "x has 4 columns, the network was made for 5"),
        (np.ones(5), "x has 1 columns, the network was made for 5"),
        (np.ones((0, 5)), "x has no rows"),
        ([["a"] * 5], "x must hold numbers, found text"),
        ([[0, 1, np.nan, 3, 4]], "x row 0 column 2 is nan"),
    ],
)
def test_rows_of_another_width_are_refused(x, message):
    with pytest.raises(DataError, match=message):
        classifier().predict(x)


@pytest.mark.parametrize("shape", [(4, 2), (4, 4), (3,), (2, 2, 3)])
def test_rows_that_do_not_match_the_columns_of_the_model_are_refused(shape, rng):
    """This includes rows that are longer than the network's inputs."""
    table = {name: rng.normal(size=60) for name in ("a", "b")} | {"c": rng.choice(["u", "v"], 60)}
    data = load(pyarrow.table(table | {"y": np.arange(60) % 2}), target="y")
    network = distbp.train(data, hidden=(4,), epochs=1, workers=0).network
    kept = data.test.x
    assert network.predict(kept).shape == (len(kept),)
    with pytest.raises(DataError) as caught:
        network.predict(np.resize(kept, shape))
    found = f"x has the shape {shape}, the network was trained on a table of 3 columns"
    assert str(caught.value) == found


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["cat", "cow"], "y row 1 is 'cow', which is none of the classes 'bird', 'cat', 'dog'"),
        ([0, 1], "y holds int64, the classes are 'bird', 'cat', 'dog'"),
        (["cat"], "found 2 rows but targets of shape"),
        ("cat", "found 2 rows but targets of shape"),
        ([["cat", "dog"]] * 2, "y has 2 columns: classes need one label per row"),
    ],
)
def test_targets_that_are_not_classes_are_refused(y, message):
    with pytest.raises(DataError, match=message):
        classifier().evaluate(np.ones((2, 5)), y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.ones((2, 3)), "y has 3 values per row, the network 2"),
        (np.ones(2), "y has 1 values per row, the network 2"),
        ([[1, np.inf], [1, 1]], "y row 0 column 1 is inf"),
        (np.ones((3, 2)), "found 2 rows but targets of shape"),
    ],
)
def test_targets_that_are_not_values_are_refused(y, message):
    with pytest.raises(DataError, match=message):
        regressor().evaluate(np.ones((2, 5)), y)


@pytest.mark.parametrize("size", [1e15, 3e37])
@pytest.mark.parametrize("part", ["x", "y"])
def test_large_numbers_cause_no_warning(part, size):
    """Large numbers are refused in one line or are harmless; a warning would be an error."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 5)), rng.normal(size=200)
    data = (x * size, y > 0) if part == "x" else (x, y * size)
    try:
        result = distbp.train(
            data, cost=None if part == "x" else "huber", activation="gelu", hidden=(6,), workers=0, epochs=1
        )
    except distbp.DistbpError as error:
        assert "\n" not in str(error)
    else:
        result.network.predict(data[0])
