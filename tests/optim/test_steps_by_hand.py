"""First two steps of each optimizer on one parameter, and schedules at their edges, computed by hand."""

import math

import numpy as np
import pytest

from distbp.config import CHOICES, Config
from distbp.optim import Rule, optimizer_of
from distbp.optim.schedules import Plateau

# The parameter is 1, lr 0.1, the gradients are 2 and then -1.
TWO_STEPS = {
    # velocity -0.2, then 0.9 (-0.2) + 0.1 = -0.08
    "sgd": ({"optimizer": "sgd"}, 0.8, 0.72),
    "sgd without momentum": ({"optimizer": "sgd", "momentum": 0.0}, 0.8, 0.9),
    # 1 + 0.9 (-0.2) - 0.2, then 0.62 + 0.9 (-0.08) + 0.1
    "nesterov": ({"optimizer": "sgd", "nesterov": True}, 0.62, 0.648),
    # 0.1 * 2 / sqrt 4, then 0.1 / sqrt 5
    "adagrad": ({"optimizer": "adagrad"}, 0.9, 0.9 + 0.1 / math.sqrt(5)),
    # 0.1 * 2 / sqrt 0.04, then 0.1 / sqrt(0.99 * 0.04 + 0.01)
    "rmsprop": ({"optimizer": "rmsprop"}, 0.0, 0.1 / math.sqrt(0.0496)),
    # means 0.2 / 0.1 and 0.08 / 0.19, squares 0.004 / 0.001 and 0.004996 / 0.001999
    "adam": ({"optimizer": "adam"}, 0.9, 0.9 - 0.1 * (0.08 / 0.19) / math.sqrt(4.996 / 1.999)),
    # the same steps, after a weight decay of 1 % on 1 and on 0.89
    "adamw": (
        {"optimizer": "adamw", "weight_decay": 0.1}, 0.89, 0.8811 - 0.1 * (0.08 / 0.19) / math.sqrt(4.996 / 1.999),
    ),
    # signs of 0.2 and of 0.9 * 0.02 - 0.1
    "lion": ({"optimizer": "lion", "weight_decay": 0.1}, 0.89, 0.8811 + 0.1),
}  # fmt: skip


@pytest.mark.parametrize("name", TWO_STEPS)
def test_first_two_steps_on_one_parameter(name):
    settings, *expected = TWO_STEPS[name]
    optimizer = optimizer_of(Config(**settings))
    state, found = np.zeros((1 + len(optimizer.slots), 1)), []
    state[0] = 1.0
    for step, gradient in enumerate([2.0, -1.0]):
        new = np.empty_like(state)
        optimizer.update(state, new, np.array([gradient]), step, 0.1, np.empty(1))
        state = new
        found.append(float(state[0, 0]))
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-7)  # the numbers by hand ignore epsilon


def test_every_optimizer_and_schedule_is_tested_by_hand():
    assert {settings["optimizer"] for settings, *_ in TWO_STEPS.values()} == set(CHOICES["optimizer"])
    assert {name.split()[0] for name, *_ in EDGES} == set(CHOICES["schedule"])


EDGES = [
    ("constant", 0, 10, {0: 1, 9: 1}),
    ("step", 0, 9, {0: 1, 2: 1, 3: 0.1, 5: 0.1, 6: 0.01, 8: 0.01}),
    ("step", 0, 10, {3: 1, 4: 0.1, 6: 0.1, 7: 0.01, 9: 0.01}),
    ("step", 0, 1, {0: 1}),
    ("exponential", 0, 100, {0: 1, 50: 0.1, 99: 0.010471285480509}),
    ("inverse-time", 0, 9, {0: 1, 1: 1 / 2, 8: 1 / 9}),
    ("cosine", 0, 4, {0: 1, 1: (2 + math.sqrt(2)) / 4, 2: 1 / 2, 3: (2 - math.sqrt(2)) / 4}),
    ("one-cycle", 0, 100, {0: 0.04, 29: 1, 64: (1 + 4e-6) / 2, 99: 4e-6}),
    ("one-cycle", 0, 10, {0: 0.04, 1: 0.52, 2: 1, 9: 4e-6}),
    ("one-cycle", 0, 1, {0: 4e-6}),  # the last rate is the first one
    ("plateau", 0, 10, {0: 1, 9: 1}),
    ("constant", 4, 10, {0: 0.25, 1: 0.5, 2: 0.75, 3: 1, 4: 1, 9: 1}),
    ("cosine", 4, 10, {0: 0.25, 3: 1, 4: 1, 7: 1 / 2, 9: (2 - math.sqrt(3)) / 4}),
    ("step", 1, 4, {0: 1, 1: 1, 2: 0.1, 3: 0.01}),
    ("one-cycle", 5, 105, {0: 0.2, 4: 1, 5: 0.04, 34: 1, 104: 4e-6}),
    ("cosine", 9, 10, {0: 1 / 9, 8: 1, 9: 1}),
]


@pytest.mark.parametrize(("name", "warmup", "steps", "factors"), EDGES)
def test_schedules_at_their_edges(name, warmup, steps, factors):
    rule = Rule.of(Config(schedule=name, warmup=warmup, lr=0.5, epochs=steps), 1)
    for step, factor in factors.items():
        assert rule.rate(step) == pytest.approx(0.5 * factor, rel=1e-12)


@pytest.mark.parametrize(
    ("costs", "factor"),
    [
        ([], 1),
        ([2.0, 2.0, 2.0], 1),
        ([2.0, 2.0, 2.0, 2.0], 1 / 2),
        ([2.0] * 6, 1 / 2),
        ([2.0] * 7, 1 / 4),
        ([2.0, 2.0, 2.0, 1.9, 1.9, 1.9], 1),
        ([2.0, 2.0, 2.0, 1.9, 1.9, 1.9, 1.9], 1 / 2),
        ([2.0, 1.99981, 1.99981, 1.99981], 1 / 2),  # lower by only 0.95e-4, which does not count as an improvement
        ([2.0, 1.99979, 1.99979, 1.99979], 1),
        ([-2.0, -2.00021, -2.0, -2.0], 1),
        ([-2.0, -2.00019, -2.0, -2.0], 1 / 2),
        ([math.inf, 2.0, 3.0, 3.0], 1),
    ],
)
def test_plateau_halves_the_rate_after_more_than_two_epochs_without_improvement(costs, factor):
    assert Plateau().after(costs) == factor
