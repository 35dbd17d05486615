import numpy as np
import pytest

from distbp.errors import UsageError
from distbp.nn.structure import Structure, first_nonfinite_layer


def test_layers_are_views_in_the_order_w1_b1_w2_b2():
    structure = Structure((2, 3, 1), ("relu", "identity"), "mse")
    flat = np.arange(13.0)
    first, second = structure.layers(flat)
    assert first.w.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert first.b.tolist() == [6, 7, 8]
    assert second.w.tolist() == [[9, 10, 11]]
    assert second.b.tolist() == [12]
    second.b[0] = -1
    assert flat[12] == -1


@pytest.mark.parametrize(
    ("sizes", "activations", "cost", "message"),
    [
        ((4,), (), "mse", "at least an input and an output"),
        ((4, 0), ("relu",), "mse", "1 node or more"),
        ((4, 3, 2), ("relu",), "mse", "2 layers need as many activations, found 1"),
        ((4, 3), ("rleu",), "mse", "unknown activation 'rleu': did you mean 'relu'"),
        ((4, 3), ("softmax",), "cross-entropi", "did you mean 'cross-entropy'"),
        ((4, 3, 2), ("softmax", "softmax"), "cross-entropy", "softmax belongs to the output layer"),
        ((4, 3), ("sigmoid",), "cross-entropy", "needs the output activation softmax, found sigmoid"),
        ((4, 3), ("softmax",), "binary-cross-entropy", "needs the output activation sigmoid, found softmax"),
        ((4, 1), ("softmax",), "cross-entropy", "needs at least 2 nodes"),
    ],
)
def test_invalid_structure_is_refused(sizes, activations, cost, message):
    with pytest.raises(UsageError, match=message):
        Structure(sizes, activations, cost)


@pytest.mark.parametrize(("place", "layer"), [(0, 1), (6, 1), (9, 2), (12, 2)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_first_bad_layer_finds_values_whose_square_overflows(place, layer, bad):
    structure = Structure((2, 3, 1), ("relu", "identity"), "mse")
    flat = np.ones(13)
    flat[place] = bad
    with np.errstate(over="ignore"):
        assert first_nonfinite_layer(structure.layers(flat)) == layer
