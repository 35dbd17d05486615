"""Steps between hosts agree with the reference: row and class weights, early updates, sufficient factors."""

from contextlib import closing
from dataclasses import asdict

import numpy as np
import pytest
from parallel.clusters import Cluster, view_of
from parallel.hosts import STRUCTURE, config, table
from reference.agreement import TOLERANCE, Data, differ_by, expected_steps

from distbp.data.dataset import DataSet, Rows
from distbp.training.executors import initial_state
from distbp.training.setup import with_parts

STEPS = 8
"""Two epochs of 16, 16, 16 and 2 rows; the last step of each is diagnosed, so its update does not begin early."""
random = np.random.default_rng(3)
ALL = table()
WEIGHTS = {
    "unequal": np.where(random.random(50) < 0.2, 0.0, random.random(50) * 3),
    "equal to 1 in the first step alone": np.where(np.arange(50) < 16, 1.0, random.random(50) * 3),
    "as many as the rows in every step": np.where(np.arange(50) % 2, 0.25, 1.75),
    "of classes alone": None,
}
CHOSEN = {
    "sgd": {"optimizer": "sgd", "lr": 0.2},
    "penalties": {"optimizer": "adamw", "lr": 0.02, "weight_decay": 0.3, "l1": 0.01, "l2": 0.1, "clip_value": 0.05},
    "max-norm": {"optimizer": "sgd", "lr": 0.2, "max_norm": 1.0, "dropout": 0.25},
    "clip-norm": {"optimizer": "sgd", "lr": 0.2, "clip_norm": 0.1},
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Use chunks that begin and end inside weights and biases."""
    monkeypatch.setattr("distbp.parallel.mesh.factors._MEASURED_SECONDS", 0.001)
    monkeypatch.setattr("distbp.parallel.mesh.chunks.CHUNK", 7)


def train_between(workers, settings, rows, layers=()):
    """Train on several hosts; return the costs and the final weights, which are equal on all hosts."""
    with closing(Cluster(workers, settings, rows=rows)) as here:
        here.join_view(view_of(here.hosts, workers, settings)._replace(measures=bool(layers)))
        for host in here.hosts if layers else ():
            host.rates()
            host.agree(layers)
        here.run(0, STEPS)
        told = [here.wait(host)[1] for host in here.hosts]
        states = [host.state(STEPS)[0] for host in here.hosts]
    assert all(state.tobytes() == states[0].tobytes() for state in states)
    return [record.cost for record in told[0]], states[0]


def check(workers, chosen, weights, class_weights=None, layers=()):
    shards = 8 if layers else 4  # of 2 rows: their factors are smaller than their products
    settings = config(
        shards, dtype="float64", hidden=(5,), epochs=2, shuffle=False, class_weights=class_weights, **chosen
    )
    data = Data(ALL.x, ALL.y, weights)
    given = DataSet("rows", "classification", Rows(*data[:2], 1.0, weights), Rows(*data[:2]), (0, 1, 2))
    costs, found = train_between(workers, settings, with_parts(settings, given).train, layers)
    asked = {name: value for name, value in asdict(settings).items() if value is not None}
    initial = initial_state(STRUCTURE, settings)[0]
    expected = expected_steps(data, asked, initial, STRUCTURE)
    assert costs == pytest.approx([step.cost for step in expected], rel=TOLERANCE)
    assert differ_by(found, expected[-1].weights) < TOLERANCE
    alike = expected_steps(data._replace(weights=None), {**asked, "class_weights": None}, initial, STRUCTURE)
    assert differ_by(found, alike[-1].weights) > 1e-3, "what rows count changes nothing here"


@pytest.mark.parametrize("workers", [(1, 1), (1, 1, 1), (2, 1, 0)], ids=str)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_rows_and_classes_count_by_their_weights(workers, weights):
    class_weights = {0: 0.5, 2: 3.0} if WEIGHTS[weights] is None else None
    check(workers, CHOSEN["sgd"], WEIGHTS[weights], class_weights)


@pytest.mark.parametrize("chosen", CHOSEN)
def test_early_and_whole_updates_apply_every_option(chosen):
    check((1, 1), CHOSEN[chosen], WEIGHTS["as many as the rows in every step"])
    check((1, 1), CHOSEN[chosen], WEIGHTS["unequal"], "balanced")


def test_layers_exchanged_as_factors_count_rows_by_their_weights():
    check((1, 1), CHOSEN["sgd"], WEIGHTS["unequal"], layers=[0, 1])
