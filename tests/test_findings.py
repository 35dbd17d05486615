"""What a run says of its own health, and that healthy ones say nothing."""

import json

import numpy as np
import pytest

import distbp
from distbp.errors import DivergedError


def kinds(result):
    return {(finding["kind"], record["epoch"]) for record in result.history for finding in record["findings"]}


def test_a_deep_sigmoid_network_is_diagnosed_as_vanishing_at_the_first_epochs_end(tmp_path):
    notes = []

    class Notes(distbp.Callback):
        def on_note(self, text):
            notes.append(text)

    distbp.train(
        "digits", hidden=(30,) * 7, activation="sigmoid", workers=0, epochs=2, run_dir=tmp_path / "run",
        callbacks=[Notes()],
    )  # fmt: skip
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    found = {finding["layer"]: finding for finding in first["findings"] if finding["kind"] == "vanishing"}
    assert 1 in found
    assert 8 not in found
    assert "of the output layer's, weight by weight: vanishing gradient. Try relu with He init" in found[1]["text"]
    assert sum("vanishing" in note for note in notes) == 1  # said once, not of every layer in every epoch


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_a_rate_of_10_is_diagnosed_as_exploding_and_stopped_with_its_layer_named(optimizer, activation, tmp_path):
    with pytest.raises(DivergedError, match=r"in layer \d.*: exploding") as raised:
        distbp.train("digits", activation=activation, optimizer=optimizer, lr=10.0, workers=0, run_dir=tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(records) <= 2
    (finding,) = [finding for finding in records[-1]["findings"] if finding["kind"] == "exploding"]
    assert finding["layer"] == raised.value.layer
    assert finding["text"] == str(raised.value)


@pytest.mark.parametrize("hidden", [(128,), (64, 64, 64)])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "adagrad", "lion"])
def test_a_healthy_relu_network_gives_no_finding(hidden, optimizer):
    result = distbp.train("digits", hidden=hidden, optimizer=optimizer, workers=0, epochs=20)
    assert kinds(result) == set()
    assert result.summary["test_accuracy"] > 0.8


def test_saturated_and_dead_units_are_counted():
    network = distbp.Network((2, 2, 2), "sigmoid")
    layers = network.structure.layers(network.weights)
    layers[0].w[:] = [[1000, 0], [0, 0]]
    from distbp.inspecting import shares

    x = np.array([[1.0, 0], [-1, 0], [0, 1]], np.float32)
    assert shares(network, x)[0] == {"saturated": pytest.approx(2 / 6)}
    relu = distbp.Network((2, 2, 2), "relu")
    relu.structure.layers(relu.weights)[0].w[:] = [[-1, -1], [1, 1]]
    assert shares(relu, np.abs(x))[0] == {"dead": 0.5}


def test_noise_scale_is_that_of_a_gradient_whose_noise_is_known():
    """A linear node with targets of known noise, at the weights where the true gradient is known too."""
    random = np.random.default_rng(0)
    x, y = np.ones((5120, 1)), random.normal(size=5120)
    y = 3.0 + 2.0 * (y - y.mean()) / y.std()  # dC/db of a row is 2 (b - y): mean -6, variance 16
    result = distbp.train(
        (x, y), hidden=(), optimizer="sgd", momentum=0.0, lr=1e-12, batch_size=4096, shards=512, epochs=10, workers=0,
        task="regression", dtype="float64", network=zero_network(), test_fraction=0.2, l2=0.5, clip_value=1.0,
    )  # fmt: skip
    # x = 1 makes w and b the same, so both count twice
    scales = [record["noise_scale"] for record in result.history]
    assert np.mean(scales) == pytest.approx(2 * 16 / (2 * 36), rel=0.05)


def zero_network():
    network = distbp.Network((1, 1), output="identity", cost="mse", dtype="float64")
    network.weights[:] = 0
    return network
