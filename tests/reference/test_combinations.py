"""Random combinations of options (same seed in every run) give the reference's weights after every step."""

from itertools import pairwise

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference.agreement import OUTPUTS, Data, check_equal, expected_steps, found_steps
from reference.updates import SCHEDULES

import distbp
from distbp.config import CHOICES
from distbp.data.dataset import DataSet, Rows
from distbp.errors import DivergedError

sizes = st.integers(1, 4)
hidden_names = st.sampled_from(CHOICES["activation"])
COSTS = {
    "classes": ("cross-entropy", "cross-entropy", "binary-cross-entropy", "mse", "huber"),
    "values": ("mse", "mae", "huber"),
    "counts": ("poisson",),
    "probabilities": ("binary-cross-entropy",),
}


@st.composite
def rows(draw):
    """Draw a few rows, their classes or values, and sometimes row weights."""
    kind, count = draw(st.sampled_from(list(COSTS))), draw(st.integers(4, 13))
    random = np.random.default_rng(draw(st.integers(0, 999)))
    x, nodes = random.normal(size=(count, draw(sizes))), draw(sizes)
    y = {
        "classes": np.arange(count) % (1 + min(nodes, 3)),
        "values": random.normal(size=(count, nodes)),
        "counts": random.poisson(2.0, size=(count, nodes)).astype(float),
        "probabilities": random.random(size=(count, nodes)),
    }[kind]
    weights = None
    if draw(st.booleans()):
        weights = random.random(count) * (random.random(count) < 0.8) + 1e-3 * (np.arange(count) == 0)
    return kind, Data(x, y, weights)


@st.composite
def optimizers(draw):
    """Draw an optimizer and the settings that only it has."""
    name = draw(st.sampled_from(CHOICES["optimizer"]))
    chosen = {"optimizer": name, "lr": draw(st.sampled_from([0.003, 0.01, 0.03]))}
    if name == "sgd":
        chosen |= draw(st.sampled_from([{}, {"momentum": 0.0}, {"momentum": 0.6}, {"nesterov": True}]))
    if name in ("adamw", "lion"):
        chosen |= draw(st.sampled_from([{}, {"weight_decay": 0.0}, {"weight_decay": 0.5}]))
    return chosen


def maybe(draw, **values):
    """Draw some of these settings, each with one of its values."""
    return {name: draw(st.sampled_from(each)) for name, each in values.items() if draw(st.integers(0, 2)) == 0}


@st.composite
def trainings(draw):
    """Draw data, compatible settings and sometimes the connections."""
    kind, data = draw(rows())
    count, cost = len(data.x), draw(st.sampled_from(COSTS[kind]))
    hidden = tuple(draw(st.lists(sizes, max_size=2)))
    epochs, batch_size = draw(st.integers(1, 3)), draw(st.integers(1, count + 1))
    steps = epochs * -(-count // min(batch_size, count))
    chosen = {
        "hidden": hidden,
        "activation": tuple(draw(hidden_names) for _ in hidden) or "relu",
        "cost": cost,
        "batch_size": batch_size,
        "epochs": epochs,
        "shards": draw(st.integers(1, 5)),
        "seed": draw(st.integers(0, 3)),
        "warmup": draw(st.integers(0, min(steps - 1, 4))),
        "schedule": draw(st.sampled_from([name for name in SCHEDULES if name != "plateau"])),
        "shuffle": draw(st.booleans()),
        **draw(optimizers()),
        **maybe(draw, l1=[0.001, 0.05], l2=[0.01, 0.3], clip_value=[0.01, 0.1], clip_norm=[0.05, 0.5]),
        **maybe(draw, max_norm=[0.5, 1.0], dropout=[0.125, 0.5]),
    }
    if cost not in OUTPUTS:
        chosen["output"] = draw(st.sampled_from(("identity", "tanh", "sigmoid", "softmax")))
        assume(chosen["output"] != "softmax" or kind == "classes")
    if kind == "classes":
        chosen |= maybe(draw, class_weights=["balanced", {0: 2.0, 1: 0.5}])
        if cost in OUTPUTS:
            chosen |= maybe(draw, label_smoothing=[0.1, 0.5])
    return data, chosen, draw(st.none() | st.integers(0, 99))


def network_of(data, chosen, seed):
    """Return a network without about a third of its connections; each node keeps its first one."""
    random, classes = np.random.default_rng(seed), sorted(set(data.y.tolist())) if data.is_classes else ()
    nodes = len(classes) or data.y.shape[1]
    if chosen["cost"] == "binary-cross-entropy" and len(classes) == 2:
        nodes = 1
    layers = (data.x.shape[1], *chosen["hidden"], nodes)
    connections = [random.random((m, before)) < 0.7 for before, m in pairwise(layers)]
    for each in connections:
        each[:, 0] = True
    output = chosen.get("output", OUTPUTS.get(chosen["cost"]))
    return distbp.Network(
        layers,
        chosen["activation"],
        output,
        chosen["cost"],
        connections=[each.astype(int) for each in connections],
        seed=seed,
        dtype="float64",
        classes=classes,
    ), connections


@settings(max_examples=150)
@given(trainings())
def test_every_combination_of_options_agrees_with_the_reference(training):
    data, chosen, seed = training
    network, connections = (None, ()) if seed is None else network_of(data, chosen, seed)
    classes = tuple(sorted(set(data.y.tolist()))) if data.is_classes else ()
    source = DataSet(
        "drawn",
        "classification" if classes else "regression",
        Rows(data.x, data.y, 1.0, data.weights),
        Rows(data.x, data.y),
        classes,
    )
    try:
        structure, initial, found = found_steps(source, chosen, network)
    except DivergedError:
        assume(False)
    expected = expected_steps(data, chosen, initial, structure, connections)
    # where a is very near 1, the reference's log(1 - a) has few correct digits
    check_equal(found, expected, counts_right=False, cost_within=1e-7)
