"""The plateau schedule and early stopping of distbp.train agree with the reference."""

import numpy as np
import pytest
from reference.agreement import COMPUTING, TOLERANCE, Data, differ_by, expected_steps, problem_of
from reference.training import mean_cost

import distbp

random = np.random.default_rng(5)
X, Y = random.normal(size=(25, 4)), random.integers(0, 3, 25)
"""The classes are random, so that training does not improve the cost of held-out rows."""
EACH = random.random(25) * 3
SETTINGS = {
    "hidden": (5,),
    "activation": "tanh",
    "optimizer": "sgd",
    "momentum": 0.0,
    "lr": 0.5,
    "batch_size": 8,
    "epochs": 12,
}


class Epochs(distbp.Callback):
    """Callback that records the weights at the end of each epoch."""

    def __init__(self):
        self.weights = []

    def on_epoch_end(self, record):
        self.weights.append(record.network.weights.tolist())


def parts_of(path, settings):
    """Return a run's training and held-out rows, its structure and its initial weights."""
    alone = {name: value for name, value in settings.items() if name not in ("schedule", "early_stopping")}
    with distbp.Trainer(path, **alone, **COMPUTING) as trainer:
        data, initial = trainer.data, trainer.network.weights.copy()
        train, held_out = data.train, data.validation
        validation = None if held_out is None else Data(held_out.x, held_out.y)
        return Data(train.x, train.y, train.weights), validation, trainer.structure, initial


@pytest.mark.parametrize(
    ("weights", "added"),
    [(None, {}), (EACH, {}), (None, {"warmup": 6}), (None, {"validation_fraction": 0.24})],
    ids=["alone", "weighted rows", "after a warm-up", "of rows held out"],
)
def test_plateau_halves_the_rate_after_three_epochs_without_improvement(weights, added, tmp_path):
    path, settings = Data(X, Y, weights).save(tmp_path / "data.npz"), {**SETTINGS, "l2": 0.3, **added}
    settings["schedule"] = "plateau"
    epochs = Epochs()
    result = distbp.train(path, callbacks=[epochs], **settings, **COMPUTING)
    assert result.history[-1]["lr"] < 0.5
    train, validation, structure, initial = parts_of(path, settings)
    expected = expected_steps(train, settings, initial, structure, validation=validation)
    per_epoch = len(expected) // settings["epochs"]
    for found, step in zip(epochs.weights, expected[per_epoch - 1 :: per_epoch], strict=True):
        assert differ_by(found, step.weights) < TOLERANCE


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_keeps_the_epoch_with_the_lowest_validation_cost(patience, tmp_path):
    path = Data(X, Y).save(tmp_path / "data.npz")
    settings = {**SETTINGS, "early_stopping": patience, "validation_fraction": 0.24}
    result = distbp.train(path, **settings, **COMPUTING)
    train, validation, structure, initial = parts_of(path, settings)
    steps = expected_steps(train, settings, initial, structure)
    per_epoch = len(steps) // settings["epochs"]
    ends = [step.weights for step in steps[per_epoch - 1 :: per_epoch]]
    costs = [mean_cost(problem_of(validation, settings), weights) for weights in ends]
    last = next(epoch for epoch in range(len(costs)) if epoch - int(np.argmin(costs[: epoch + 1])) >= patience)
    best = int(np.argmin(costs[: last + 1]))
    assert last + 1 < settings["epochs"], "nothing is stopped here"
    assert [record["validation_cost"] for record in result.history] == pytest.approx(costs[: last + 1], rel=TOLERANCE)
    assert result.summary["best_epoch"] == best + 1
    assert differ_by(result.network.weights, ends[best]) < TOLERANCE
