"""Every option of the command that changes the mathematics has its effect on the saved model."""

import json
from dataclasses import fields

import numpy as np
import pytest
from reference.agreement import TOLERANCE, Data, differ_by, expected_steps, found_steps, problem_of

from distbp import Network
from distbp.cli import run
from distbp.config import NEVER_CHANGES_THE_RESULT, Config
from distbp.data.epoch_order import EpochOrder

random = np.random.default_rng(8)
DATA = Data(random.normal(size=(21, 3)), random.integers(0, 3, 21), random.random(21) * 2)
BASE = {"hidden": (4,), "activation": "tanh", "optimizer": "sgd", "batch_size": 8, "epochs": 2}
OPTIONS = [
    {"hidden": (6, 2)},
    {"activation": "relu"},
    {"output": "tanh", "cost": "huber"},
    {"cost": "binary-cross-entropy"},
    {"label_smoothing": 0.3},
    {"class_weights": {0: 2.0, 1: 0.25}},
    {"optimizer": "adam"},
    {"lr": 0.02},
    {"momentum": 0.3},
    {"nesterov": True},
    {"optimizer": "lion", "weight_decay": 0.2},
    {"schedule": "inverse-time"},
    {"warmup": 4},
    {"l1": 0.02},
    {"l2": 0.1},
    {"clip_value": 0.02},
    {"clip_norm": 0.1},
    {"max_norm": 0.6},
    {"batch_size": 5},
    {"epochs": 3},
    {"shuffle": False},
    {"dropout": 0.25},
    {"shards": 3, "batch_size": 7},
]

ELSEWHERE = {
    "initial", "seed", "dtype", "threads", "wire", "early_stopping", "validation_fraction",
    # options for reading data
    "task", "target", "drop", "weights", "separator", "header", "test_file", "test_fraction",
    *NEVER_CHANGES_THE_RESULT,
}  # fmt: skip
"""Settings that do not change the mathematics of a step, or that other tests compare with another reference."""


def test_every_setting_that_changes_a_step_is_tested_here():
    tried = {name for added in OPTIONS for name in added}
    assert {field.name for field in fields(Config)} - ELSEWHERE == tried


def words(settings):
    """Return the settings as arguments of the command."""
    written = []
    for name, value in settings.items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            written.append(option if value else option.replace("--", "--no-"))
        elif isinstance(value, dict):
            written += [option, ",".join(f"{key}={each}" for key, each in value.items())]
        else:
            written += [option, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return written


@pytest.mark.parametrize("added", OPTIONS, ids=lambda added: ",".join(added))
def test_the_model_of_the_command_agrees_with_the_reference(added, tmp_path):
    data, settings = DATA.save(tmp_path / "data.npz"), {**BASE, **added}
    folder = tmp_path / "run"
    asked = ["train", data, "--dtype", "float64", "--workers", "0", "--quiet", "--run-dir", str(folder)]
    assert run([*asked, *words(settings)], 0.0) == 0
    structure, initial, _ = found_steps(data, settings)
    expected = expected_steps(DATA, settings, initial, structure)
    assert differ_by(Network.load(folder).weights, expected[-1].weights) < TOLERANCE
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    steps = len(expected) // settings["epochs"]
    assert last["steps"] == len(expected)
    assert last["train_cost"] == pytest.approx(cost_of_last_epoch(settings, expected[-steps:]), rel=1e-9)
    if structure.sizes == found_steps(data, BASE)[0].sizes:
        before = expected_steps(DATA, BASE, initial, structure)
        assert differ_by(before[-1].weights, expected[-1].weights) > 1e-3, "the option does nothing here"


def cost_of_last_epoch(settings, steps):
    """Return the weighted mean of the examples' costs during the epoch."""
    order = EpochOrder.of(Config.from_settings(settings), len(DATA.x))
    counts = problem_of(DATA, settings).weights
    first = (settings["epochs"] - 1) * len(steps)
    each = [sum(counts[row] for row in order.rows(first + number)) for number in range(len(steps))]
    return sum(step.cost * count for step, count in zip(steps, each, strict=True)) / sum(each)
