"""Run distbp and the reference on the same settings and data, and compare every step.

The reference takes only three things from distbp: the order of rows, the initial weights and the dropout masks.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from reference.training import Problem, Step, row_weights, train

from distbp import Trainer
from distbp.config import Config
from distbp.data.epoch_order import EpochOrder
from distbp.nn.dropout import Dropout

TOLERANCE = 1e-12
"""Largest difference of a weight, relative to the largest weight."""
OUTPUTS = {"cross-entropy": "softmax", "binary-cross-entropy": "sigmoid", "poisson": "softplus"}
COMPUTING = {"workers": 0, "dtype": "float64"}


class Data(NamedTuple):
    """Rows to train on; a class is given by its number."""

    x: Any
    y: Any
    weights: Any = None

    @property
    def is_classes(self):
        """Whether the targets are class numbers."""
        return self.y.ndim == 1

    def save(self, path: Path) -> str:
        """Write the rows to a file as a user would, with the first rows as the test part."""
        counts = {} if self.weights is None else {"weights_train": self.weights}
        few = slice(0, 6)
        np.savez(path, x_train=self.x, y_train=self.y, x_test=self.x[few], y_test=self.y[few], **counts)
        return str(path)


def problem_of(data, settings, connections=()):
    """Return the reference's problem for these data and settings, with documented defaults."""
    classes = sorted({int(k) for k in data.y}) if data.is_classes else []
    cost = settings.get("cost", "cross-entropy" if classes else "mse")
    output = settings.get("output", OUTPUTS.get(cost, "sigmoid" if classes else "identity"))
    hidden = settings["hidden"]
    activation = settings.get("activation", "relu")
    names = activation if isinstance(activation, tuple) else (activation,) * len(hidden)
    nodes = len(classes) or data.y.shape[1]
    if cost == "binary-cross-entropy" and len(classes) == 2:
        nodes = 1
    y = [int(k) for k in data.y] if classes else data.y.tolist()
    counts = row_weights(y, classes, data.weights, settings.get("class_weights"))
    sizes = (data.x.shape[1], *hidden, nodes)
    chosen = tuple(None if each is None else np.asarray(each).tolist() for each in connections)
    return Problem(sizes, (*names, output), cost, data.x.tolist(), y, counts, chosen)


def expected_steps(data, settings, initial, structure, connections=(), validation=None) -> list[Step]:
    """Return the reference's steps of a run from these weights; ``validation`` holds the held-out rows."""
    config = Config.from_settings({**settings, **COMPUTING})
    order = EpochOrder.of(config, len(data.x))

    def kept(step, rows):
        masks = Dropout(structure, rows, "float64", config.dropout, config.seed).masks(step, 0, rows)
        return [[(mask[row] != 0).tolist() for mask in masks] for row in range(rows)]

    problem = problem_of(data, settings, connections)
    held_out = None if validation is None else problem_of(validation, settings)
    return list(train(problem, settings, initial.tolist(), order.rows, order.steps_per_epoch, kept, held_out))


def found_steps(source, settings, network=None, dtype="float64") -> tuple[Any, Any, list[Step]]:
    """Return structure, initial weights and steps of distbp in this process."""
    with Trainer(source, network=network, **settings, **{**COMPUTING, "dtype": dtype}) as trainer:
        initial, found = trainer.network.weights.copy(), []
        for record in trainer:
            seen = record.diagnosis
            norms = None if seen is None else [seen.gradient_norms, seen.update_norms, seen.weight_norms]
            found.append(Step(record.cost, record.right, trainer.network.weights.tolist(), norms))
        return trainer.structure, initial, found


def differ_by(found, expected) -> float:
    """Return the largest difference of two vectors, relative to their largest element."""
    found, expected = np.asarray(found), np.asarray(expected)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def check_equal(found: list[Step], expected: list[Step], counts_right=True, cost_within=TOLERANCE) -> None:
    """Check that distbp and the reference agree after every step."""
    assert len(found) == len(expected)
    assert found[-1].norms is not None, "the last step of an epoch tells the layers' norms"
    for number, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        assert differ_by(mine.weights, theirs.weights) < TOLERANCE, f"the weights differ after step {number}"
        assert abs(mine.cost - theirs.cost) <= cost_within * max(1.0, abs(theirs.cost)), f"the cost of step {number}"
        if counts_right:
            assert mine.right == theirs.right, f"the right answers of step {number}"
        if mine.norms is not None:
            assert differ_by(mine.norms, theirs.norms) < TOLERANCE, f"the norms of step {number}"
