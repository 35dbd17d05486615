"""A step with numbers that are not finite is not applied; its record names the number and the layer."""

import numpy as np
import pytest

from distbp.config import Config
from distbp.data.dataset import Rows
from distbp.errors import DivergedError
from distbp.nn.structure import Structure
from distbp.parallel.step.executor import InProcessExecutor

STRUCTURE = Structure((2, 3, 3, 1), ("identity", "identity", "identity"), "mse")
LARGE = 1e25  # finite in float32, but not its square


def weights_of_1():
    return np.ones(STRUCTURE.parameter_count, np.float32)


def cost_overflows(layer):
    """Make w^l so large that z^l is infinite."""
    flat = weights_of_1()
    STRUCTURE.layers(flat)[layer - 1].w[:] = 3e38
    return flat, 0.1


def gradient_overflows(layer):
    """Make b^L large, and let the weights above layer l pass its delta down to layer l and no further."""
    flat = weights_of_1()
    layers = STRUCTURE.layers(flat)
    layers[-1].b[:] = LARGE
    if layer > 1:
        layers[layer - 1].w[:] = 0
    return flat, 0.1


def weight_overflows(layer):
    """Make the learning rate too large; w^l = 0 keeps delta from the layers below l, whose weights do not change."""
    flat = weights_of_1()
    if layer > 1:
        STRUCTURE.layers(flat)[layer - 1].w[:] = 0
    return flat, 1e30


CAUSES = {"the cost": cost_overflows, "a gradient": gradient_overflows, "a weight": weight_overflows}


def pool(flat, settings):
    config = Config(batch_size=8, shards=3, dtype="float32", **settings)
    slots = 1 if config.momentum else 0 if config.optimizer == "sgd" else 2
    state = np.vstack([flat, np.zeros((slots, flat.size), np.float32)])
    return InProcessExecutor(STRUCTURE, config, Rows(np.ones((8, 2), np.float32), np.zeros((8, 1), np.float32)), state)


@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize("what", CAUSES)
@pytest.mark.parametrize(
    "settings",
    [{"momentum": 0.0}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    ids=["plain", "momentum", "nesterov"],
)
def test_a_diverging_step_is_named_and_leaves_the_state_unchanged(what, layer, settings):
    flat, lr = CAUSES[what](layer)
    descent = pool(flat, {"optimizer": "sgd", "lr": lr, **settings})
    before = descent.state().tobytes()
    with pytest.raises(DivergedError, match=rf"{what} of step 0 .* first in layer {layer}") as caught:
        list(descent.steps(5))
    assert (caught.value.step, caught.value.layer) == (0, layer)
    assert descent.state().tobytes() == before


def test_a_diverging_step_of_adam_leaves_the_state_unchanged():
    flat, _ = weight_overflows(1)
    descent = pool(flat, {"optimizer": "adam", "lr": 1e30})
    before = descent.state().tobytes()
    with pytest.raises(DivergedError, match="a weight of step 0"):
        list(descent.steps(5))
    assert descent.state().tobytes() == before


def test_run_that_diverges_later_keeps_the_last_good_state():
    descent = pool(weights_of_1(), {"optimizer": "sgd", "lr": 0.01, "momentum": 0.0})
    seen = [descent.state()]
    with pytest.raises(DivergedError) as caught:
        seen.extend(descent.state() for _ in descent.steps(100))
    assert caught.value.step == len(seen) - 1 > 0
    assert descent.state().tobytes() == seen[-1].tobytes()
    assert np.isfinite(seen[-1]).all()
