"""Compare each option that changes the mathematics, one at a time, with the reference after every step."""

import numpy as np
import pytest
from reference.agreement import Data, check_equal, differ_by, expected_steps, found_steps

import distbp
from distbp.config import CHOICES

random = np.random.default_rng(5)
X = random.normal(size=(25, 4))
"""With mini-batches of 8 there are three full ones and one of a single row, fewer than the shards."""
THREE, TWO = random.integers(0, 3, 25), random.integers(0, 2, 25)
VALUES = random.normal(size=(25, 2)) * 2
COUNTS = random.poisson(2.0, size=(25, 2)).astype(float)
SHARES = random.random(size=(25, 2))
EACH = np.where(random.random(25) < 0.2, 0.0, random.random(25) * 3)
"""Weight of each row."""
DATA = {
    "classes": Data(X, THREE), "two classes": Data(X, TWO), "values": Data(X, VALUES), "counts": Data(X, COUNTS),
    "probabilities": Data(X, SHARES), "weighted classes": Data(X, THREE, EACH),
    "weighted values": Data(X, VALUES, EACH),
}  # fmt: skip
BASE = {"hidden": (5,), "activation": "tanh", "lr": 0.05, "batch_size": 8, "epochs": 2, "shards": 3}
SGD, ADAM = {"optimizer": "sgd"}, {"optimizer": "adam"}


def other(setting, name):
    """Return this setting with another activation than ``name``."""
    return {setting: "identity" if name != "identity" else "tanh"}


# name: (data, settings without the option, added settings)
OPTIONS = {
    **{f"optimizer {name}": ("classes", {}, {"optimizer": name}) for name in CHOICES["optimizer"] if name != "adam"},
    "optimizer adam": ("classes", SGD, ADAM),
    "momentum": ("classes", SGD, {"momentum": 0.5}),
    "no momentum": ("classes", SGD, {"momentum": 0.0}),
    "nesterov": ("classes", SGD, {"nesterov": True}),
    "weight-decay of adamw": ("classes", {"optimizer": "adamw"}, {"weight_decay": 0.3}),
    "weight-decay of lion": ("classes", {"optimizer": "lion"}, {"weight_decay": 0.3}),
    "weight-decay at a falling rate": (
        "classes", {"optimizer": "adamw", "weight_decay": 0.3}, {"schedule": "cosine"},
    ),
    **{
        f"schedule {name}": ("classes", SGD, {"schedule": name})
        for name in CHOICES["schedule"] if name not in ("constant", "plateau")
    },
    "warmup": ("classes", SGD, {"warmup": 3}),
    **{f"warmup, then {name}": ("classes", {**SGD, "schedule": name}, {"warmup": 3}) for name in ("step", "one-cycle")},
    **{
        f"{option} with {optimizer}": ("classes", {"optimizer": optimizer}, {option: value})
        for option, value in [("l1", 0.02), ("l2", 0.1), ("clip_value", 0.03), ("clip_norm", 0.1), ("max_norm", 0.7)]
        for optimizer in ("sgd", "adam")
    },
    "dropout": ("classes", {"hidden": (5, 6)}, {"dropout": 0.375}),
    "no-shuffle": ("classes", {}, {"shuffle": False}),
    "label-smoothing": ("classes", {}, {"label_smoothing": 0.2}),
    "label-smoothing of one node": ("two classes", {"cost": "binary-cross-entropy"}, {"label_smoothing": 0.2}),
    "label-smoothing of several nodes": ("classes", {"cost": "binary-cross-entropy"}, {"label_smoothing": 0.2}),
    "class-weights": ("classes", {}, {"class_weights": {0: 0.5, 2: 3.0}}),
    "class-weights balanced": ("classes", {}, {"class_weights": "balanced"}),
    "class-weights beside weights": ("weighted classes", {}, {"class_weights": {1: 2.5}}),
    "class-weights balanced beside weights": ("weighted classes", {}, {"class_weights": "balanced"}),
    **{
        f"activation {name}": ("classes", {"hidden": (5, 4), **other("activation", name)}, {"activation": name})
        for name in CHOICES["activation"]
    },
    "an activation for each layer": ("classes", {"hidden": (5, 4)}, {"activation": ("elu", "sigmoid")}),
    **{f"output {name}": ("values", other("output", name), {"output": name}) for name in CHOICES["output"]},
    "cost binary-cross-entropy": (
        "probabilities", {"cost": "mse", "output": "sigmoid"}, {"cost": "binary-cross-entropy"},
    ),
    "cost poisson": ("counts", {"output": "softplus"}, {"cost": "poisson"}),
    "cost mae": ("values", {}, {"cost": "mae"}),
    "cost huber": ("values", {}, {"cost": "huber"}),
    "cost mse of classes": ("classes", {"output": "softmax"}, {"cost": "mse"}),
}  # fmt: skip
TOO_LITTLE = 1e-3
"""Every one of these options changes the final weights by more than this."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write each data set to a file, as a user would."""
    folder = tmp_path_factory.mktemp("data")
    return {name: data.save(folder / f"{name}.npz") for name, data in DATA.items()}


@pytest.mark.parametrize("option", OPTIONS)
def test_weights_and_cost_after_every_step(option, files):
    name, base, added = OPTIONS[option]
    without, settings = {**BASE, **base}, {**BASE, **base, **added}
    structure, initial, found = found_steps(files[name], settings)
    expected = expected_steps(DATA[name], settings, initial, structure)
    has_classes = structure.activations[-1] in (
        "softmax",
        "sigmoid",
    )  # with other outputs the class does not change at 1/2
    check_equal(found, expected, has_classes)
    before = expected_steps(DATA[name], without, initial, structure)
    assert differ_by(before[-1].weights, expected[-1].weights) > TOO_LITTLE, "the option does nothing here"


@pytest.mark.parametrize("option", OPTIONS)
def test_float32_agrees_up_to_its_rounding(option, files):
    name, base, added = OPTIONS[option]
    settings = {**BASE, **base, **added}
    structure, initial, found = found_steps(files[name], settings, dtype="float32")
    expected = expected_steps(DATA[name], settings, initial, structure)
    for mine, theirs in zip(found, expected, strict=True):
        assert differ_by(mine.weights, theirs.weights) < 1e-5
        assert mine.cost == pytest.approx(theirs.cost, rel=1e-5)


@pytest.mark.parametrize("optimizer", CHOICES["optimizer"])
def test_a_setting_that_is_not_given_has_its_documented_default(optimizer, files):
    settings = {"hidden": (5,), "batch_size": 8, "epochs": 1, "optimizer": optimizer}
    structure, initial, found = found_steps(files["classes"], settings)
    check_equal(found, expected_steps(DATA["classes"], settings, initial, structure))


@pytest.mark.parametrize("name", ["weighted classes", "weighted values"])
@pytest.mark.parametrize("shards", [1, 3])
def test_rows_count_by_their_weights(name, shards, files):
    settings = {**BASE, "shards": shards}
    structure, initial, found = found_steps(files[name], settings)
    expected = expected_steps(DATA[name], settings, initial, structure)
    check_equal(found, expected)
    alike = expected_steps(DATA[name]._replace(weights=None), settings, initial, structure)
    assert differ_by(alike[-1].weights, expected[-1].weights) > TOO_LITTLE


def test_a_mini_batch_of_weight_0_applies_only_the_penalties(tmp_path):
    weights = np.where(np.arange(25) // 8 == 1, 0.0, 1.5)
    data, settings = Data(X, THREE, weights), {**BASE, **SGD, "shuffle": False, "l2": 0.1}
    structure, initial, found = found_steps(data.save(tmp_path / "data.npz"), settings)
    check_equal(found, expected_steps(data, settings, initial, structure))
    assert found[1].cost == 0
    assert differ_by(found[0].weights, found[1].weights) > TOO_LITTLE


@pytest.mark.parametrize("shards", [1, 2, 5, 8])
def test_shards_change_only_the_rounding(shards, files):
    settings = {**BASE, "shards": shards, "clip_norm": 0.2, "dropout": 0.25}
    structure, initial, found = found_steps(files["weighted classes"], settings)
    check_equal(found, expected_steps(DATA["weighted classes"], settings, initial, structure))


CONNECTIONS = [np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]), None]


@pytest.mark.parametrize(
    "added",
    [{}, {"l1": 0.05}, {"l2": 0.1}, {"optimizer": "adamw", "weight_decay": 0.3}, {"clip_norm": 0.1}, {"max_norm": 0.7}],
    ids=str,
)
def test_a_removed_connection_stays_0_and_counts_in_no_norm(added, files):
    network = distbp.Network(
        (4, 5, 3), "tanh", connections=CONNECTIONS, initial="glorot", dtype="float64", seed=2, classes=range(3)
    )
    settings = {**BASE, "seed": 2, **added}
    structure, initial, found = found_steps(files["classes"], settings, network)
    check_equal(found, expected_steps(DATA["classes"], settings, initial, structure, CONNECTIONS))
    whole = expected_steps(DATA["classes"], settings, initial, structure)
    assert differ_by(found[-1].weights, whole[-1].weights) > TOO_LITTLE
