import numpy as np
import pytest

from distbp.errors import UsageError
from distbp.nn.initialization import SCHEMES, initial_weights
from distbp.nn.structure import Structure

STRUCTURE = Structure((200, 200, 200, 100), ("tanh", "tanh", "identity"), "mse")
schemes = pytest.mark.parametrize("scheme", SCHEMES)


@schemes
def test_same_seed_gives_the_same_bits(scheme):
    one, two, other = (initial_weights(STRUCTURE, scheme, seed) for seed in (3, 3, 4))
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


@schemes
def test_layers_of_one_shape_differ(scheme):
    first, second, _ = STRUCTURE.layers(initial_weights(STRUCTURE, scheme, 0, "float64"))
    assert not np.isin(first.w, second.w).any()


@schemes
def test_biases_are_0(scheme):
    assert not any(b.any() for _, b in STRUCTURE.layers(initial_weights(STRUCTURE, scheme, 0)))


@schemes
def test_float32_is_the_rounded_float64(scheme):
    single, double = (initial_weights(STRUCTURE, scheme, 0, dtype) for dtype in ("float32", "float64"))
    assert single.dtype == np.float32
    assert single.tobytes() == double.astype(np.float32).tobytes()


@pytest.mark.parametrize(
    ("scheme", "factor"), [("he", lambda m_prev, m: 2 / m_prev), ("glorot", lambda *m: 2 / sum(m))]
)
def test_variance_is_that_of_the_scheme(scheme, factor):
    flat = initial_weights(STRUCTURE, scheme, 0, "float64")
    for l, (w, _) in enumerate(STRUCTURE.layers(flat)):
        assert w.var() == pytest.approx(factor(STRUCTURE.sizes[l], STRUCTURE.sizes[l + 1]), rel=0.03)
        assert abs(w.mean()) < 4 * w.std() / np.sqrt(w.size)


def test_glorot_stays_within_its_limit():
    w = STRUCTURE.layers(initial_weights(STRUCTURE, "glorot", 0, "float64"))[2].w
    assert 0.99 * np.sqrt(6 / 300) < np.abs(w).max() <= np.sqrt(6 / 300)


def test_error_for_an_unknown_scheme_suggests_the_nearest_name():
    with pytest.raises(UsageError, match="unknown initial 'glorto': did you mean 'glorot'"):
        initial_weights(STRUCTURE, "glorto", 0)
