"""Findings about the health of a run; a healthy run has none."""

import json
import math

import numpy as np
import pytest
from callers import Notes

import distbp
from distbp.errors import DivergedError
from distbp.model.inspection import shares
from distbp.nn.structure import Structure
from distbp.parallel.step.records import Diagnosis, StepRecord
from distbp.runs.epoch_sums import EpochSums
from distbp.training.health import Health, findings


def kinds(result):
    return {(finding["kind"], record["epoch"]) for record in result.history for finding in record["findings"]}


def test_vanishing_gradients_are_diagnosed_after_the_first_epoch(tmp_path):
    told = Notes()
    distbp.train(
        "digits",
        hidden=(30,) * 7,
        activation="sigmoid",
        workers=0,
        epochs=2,
        run_dir=tmp_path / "run",
        callbacks=[told],
    )
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    found = {finding["layer"]: finding for finding in first["findings"] if finding["kind"] == "vanishing"}
    assert 1 in found
    assert 8 not in found
    assert "of the output layer's: vanishing gradient. Try relu with He init" in found[1]["text"]
    assert sum("vanishing" in note for note in told.notes) == 1  # reported once, not for every layer and epoch


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_a_rate_of_10_stops_the_run_and_names_the_exploding_layer(optimizer, activation, tmp_path):
    with pytest.raises(DivergedError, match=r"in layer \d.*: exploding") as raised:
        distbp.train("digits", activation=activation, optimizer=optimizer, lr=10.0, workers=0, run_dir=tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(records) <= 2
    (finding,) = [finding for finding in records[-1]["findings"] if finding["kind"] == "exploding"]
    assert finding["layer"] == raised.value.layer
    assert finding["text"] == str(raised.value)


@pytest.mark.parametrize("hidden", [(128,), (64, 64, 64)])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "adagrad", "lion"])
def test_a_healthy_relu_network_has_no_finding(hidden, optimizer):
    result = distbp.train("digits", hidden=hidden, optimizer=optimizer, workers=0, epochs=20)
    assert kinds(result) == set()
    assert result.summary["test_accuracy"] > 0.8


HEALTHY = {"gradient_norm": 1.0, "update_ratio": 0.01}


def kinds_of(activation, first=(), last=()):
    """Return the findings for a network of two layers, healthy except for these numbers."""
    structure = Structure((3, 3, 3), (activation, "softmax"), "cross-entropy")
    found = findings(structure, [HEALTHY | dict(first), HEALTHY | dict(last)])
    return [(finding.kind, finding.layer) for finding in found]


@pytest.mark.parametrize(
    ("activation", "healthy", "ill", "kind"),
    [
        ("sigmoid", {"gradient_norm": 0.00101}, {"gradient_norm": 0.00099}, "vanishing"),
        ("sigmoid", {"saturated": 0.49}, {"saturated": 0.5}, "saturated"),
        ("tanh", {"saturated": 0.49}, {"saturated": 0.51}, "saturated"),
        ("relu", {"dead": 0.49}, {"dead": 0.5}, "dead"),
        ("relu", {"update_ratio": 0.5}, {"update_ratio": 0.51}, "exploding"),
    ],
)
def test_findings_begin_at_their_thresholds(activation, healthy, ill, kind):
    assert kinds_of(activation) == []
    assert kinds_of(activation, first=healthy) == []
    assert kinds_of(activation, first=ill) == [(kind, 1)]
    expected = [("exploding", 2)] if kind == "exploding" else []
    assert kinds_of(activation, last=ill) == expected  # output units never count as saturated or dead


def test_vanishing_is_measured_per_weight_for_layers_of_any_size():
    """Layers of 220 and 21 parameters are compared by the gradient's norm over the root of that number."""
    structure = Structure((10, 20, 1), ("tanh", "identity"), "mse")
    ratio = 1e-3 * math.sqrt(220 / 21)
    for factor, expected in ((1.01, []), (0.99, ["vanishing"])):
        found = findings(structure, [HEALTHY | {"gradient_norm": factor * ratio}, HEALTHY])
        assert [finding.kind for finding in found] == expected


def test_gradients_are_compared_with_the_last_layer():
    structure = Structure((3, 3, 3, 3), ("tanh", "tanh", "identity"), "mse")
    (found,) = findings(structure, [HEALTHY | {"gradient_norm": 1e-5}, HEALTHY | {"gradient_norm": 1.0}, HEALTHY])
    assert (found.kind, found.layer) == ("vanishing", 1)
    assert found.text.endswith("Try relu with He initialisation, or cross-entropy")
    still = HEALTHY | {"gradient_norm": 0.0}
    assert [finding.layer for finding in findings(structure, [HEALTHY, still, HEALTHY])] == [2]
    assert findings(structure, [still, HEALTHY, still]) == []


def test_the_sums_of_an_epoch_cover_all_steps_even_if_interrupted():
    sums = EpochSums()
    sums.add(StepRecord(0, 4, 1.5, 2, weight=2.0))
    sums = EpochSums(sums.to_json())
    sums.add(StepRecord(1, 3, 0.5, 3, weight=6.0))
    assert (sums.rows, sums.right, sums.weight) == (7, 5, 8.0)
    assert sums.mean_cost == (1.5 * 2 + 0.5 * 6) / 8


def test_a_vanishing_layer_names_its_saturated_units_in_the_same_finding():
    structure = Structure((3, 3, 3), ("sigmoid", "softmax"), "cross-entropy")
    (found,) = findings(structure, [HEALTHY | {"gradient_norm": 1e-5, "saturated": 0.75}, HEALTHY])
    assert found.kind == "vanishing"
    assert "layer 1: 75 % of sigmoid units saturated, its gradient per weight is 1e-05 of" in found.text
    assert kinds_of("sigmoid", last={"gradient_norm": 0.0}) == []  # there is nothing to compare with


@pytest.mark.parametrize(("growth", "cost", "ends"), [(9.9, 2.0, False), (10.1, 2.0, True), (10.1, 0.9, False)])
def test_a_run_is_stopped_if_weights_and_cost_grow_tenfold(growth, cost, ends):
    network = distbp.Network((3, 3, 3), "tanh", seed=1)
    health, sums = Health(), EpochSums()
    health.begin(network.structure, network.weights)
    health.add(StepRecord(0, 4, 1.0, 0, weight=4.0))
    sums.add(StepRecord(7, 4, cost, 0, weight=4.0, diagnosis=Diagnosis((1.0, 1.0), (0.1, 0.1), (1.0, 1.0), 1.0, 1.0)))
    network.structure.layers(network.weights)[1].w[:] *= growth
    record, error = Health(health.to_json()).examine(network, sums, 7, np.ones((2, 3), np.float32))
    assert [finding["kind"] for finding in record["findings"]] == (["exploding"] if ends else [])
    assert (error is not None) == ends
    assert error is None or error.layer == 2


@pytest.mark.parametrize(("activation", "below", "above"), [("sigmoid", 4.59, 4.6), ("tanh", 2.29, 2.3)])
def test_a_unit_is_saturated_if_its_slope_is_below_4_percent_of_the_maximum(activation, below, above):
    """The slope is 0.0396 of the one at 0 for sigmoid at z = 4.595 (a = 0.99) and tanh at z = 2.298 (a = 0.98)."""
    network = distbp.Network((1, 1, 2), activation)
    network.weights[:] = [1, 0, 0, 0, 0, 0]
    assert shares(network, np.array([[below], [-below]], np.float32))[0] == {"saturated": 0.0}
    assert shares(network, np.array([[above], [-above]], np.float32))[0] == {"saturated": 1.0}


def test_saturated_and_dead_units_are_counted():
    network = distbp.Network((2, 2, 2), "sigmoid")
    layers = network.structure.layers(network.weights)
    layers[0].w[:] = [[1000, 0], [0, 0]]
    x = np.array([[1.0, 0], [-1, 0], [0, 1]], np.float32)
    assert shares(network, x)[0] == {"saturated": pytest.approx(2 / 6)}
    relu = distbp.Network((2, 2, 2), "relu")
    relu.structure.layers(relu.weights)[0].w[:] = [[-1, -1], [1, 1]]
    assert shares(relu, np.abs(x))[0] == {"dead": 0.5}


def test_noise_scale_of_a_gradient_with_known_noise():
    """A linear node has targets of known noise, and the true gradient at its weights is known."""
    random = np.random.default_rng(0)
    x, y = np.ones((5120, 1)), random.normal(size=5120)
    y = 3.0 + 2.0 * (y - y.mean()) / y.std()  # dC/db of a row is 2 (b - y), of mean -6 and variance 16
    result = distbp.train(
        (x, y),
        hidden=(),
        optimizer="sgd",
        momentum=0.0,
        lr=1e-12,
        batch_size=4096,
        shards=512,
        epochs=10,
        workers=0,
        task="regression",
        dtype="float64",
        network=zero_network(),
        test_fraction=0.2,
        l2=0.5,
        clip_value=1.0,
    )
    # with x = 1, w and b have equal gradients: everything counts twice
    scales = [record["noise_scale"] for record in result.history]
    assert np.mean(scales) == pytest.approx(2 * 16 / (2 * 36), rel=0.05)


def zero_network():
    network = distbp.Network((1, 1), output="identity", cost="mse", dtype="float64")
    network.weights[:] = 0
    return network
