"""Compare optimizers and schedules with PyTorch, if it is installed, step by step in float64."""

import numpy as np
import pytest

from distbp.config import Config
from distbp.optim import Rule, optimizer_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed (it comes with the group bench)")


@pytest.fixture(autouse=True)
def torch_leaves_the_environment_alone(monkeypatch, tmp_path):
    """Set PyTorch's cache folder, which its optimizers would otherwise add to the environment."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))


STEPS, COUNT, LR = 100, 50, 0.01
OPTIMIZERS = {
    "sgd": ({"momentum": 0.0}, lambda w: torch.optim.SGD(w, LR)),
    "momentum": ({"momentum": 0.9}, lambda w: torch.optim.SGD(w, LR, momentum=0.9)),
    "nesterov": ({"momentum": 0.9, "nesterov": True}, lambda w: torch.optim.SGD(w, LR, momentum=0.9, nesterov=True)),
    "adagrad": ({}, lambda w: torch.optim.Adagrad(w, LR)),
    "rmsprop": ({}, lambda w: torch.optim.RMSprop(w, LR)),
    "adam": ({}, lambda w: torch.optim.Adam(w, LR)),
    "adamw": ({"weight_decay": 0.1}, lambda w: torch.optim.AdamW(w, LR, weight_decay=0.1)),
}
SCHEDULES = {
    "constant": lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0),
    "step": lambda o: torch.optim.lr_scheduler.StepLR(o, STEPS // 3 + 1, 0.1),
    "exponential": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.01 ** (1 / STEPS)),
    "inverse-time": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + 9 * t / STEPS)),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS),
    "one-cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(
        o, LR, total_steps=STEPS, div_factor=25, final_div_factor=1e4, cycle_momentum=False
    ),
}


def differs(mine, theirs):
    return np.abs(np.asarray(mine) - np.asarray(theirs)).max() / np.abs(np.asarray(theirs)).max()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_hundred_steps_of_every_optimizer(name, rng):
    settings, make = OPTIMIZERS[name]
    optimizer = optimizer_of(Config(optimizer=name if name not in ("momentum", "nesterov") else "sgd", **settings))
    state = np.zeros((1 + len(optimizer.slots), COUNT))
    state[0] = rng.normal(size=COUNT)
    theirs = torch.tensor(state[0].copy(), requires_grad=True)
    their_optimizer = make([theirs])
    for step in range(STEPS):
        gradient = rng.normal(size=COUNT) + np.sin(state[0])
        theirs.grad = torch.tensor(gradient.copy())
        their_optimizer.step()
        new = np.empty_like(state)
        optimizer.update(state, new, gradient, step, LR, np.empty(COUNT))
        state = new
        assert differs(state[0], theirs.detach().numpy()) < 1e-10


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_hundred_steps_of_every_schedule(name):
    optimizer = torch.optim.SGD([torch.zeros(1)], LR)
    schedule = SCHEDULES[name](optimizer)
    if name == "step":  # three equal parts: 102 is a multiple of 3
        rule = Rule.of(Config(schedule=name, lr=LR, epochs=STEPS + 2), 1)
    else:
        rule = Rule.of(Config(schedule=name, lr=LR, epochs=STEPS), 1)
    for step in range(STEPS):
        expected = optimizer.param_groups[0]["lr"]
        assert rule.rate(step) == pytest.approx(expected, rel=1e-10, abs=1e-18)
        optimizer.step()
        schedule.step()


def test_warm_up_before_a_schedule():
    optimizer = torch.optim.SGD([torch.zeros(1)], LR)
    schedulers = torch.optim.lr_scheduler
    both = schedulers.SequentialLR(
        optimizer,
        [
            schedulers.LambdaLR(optimizer, lambda t: (t + 1) / 10),
            schedulers.LambdaLR(optimizer, lambda t: (1 + np.cos(np.pi * t / (STEPS - 10))) / 2),
        ],
        [10],
    )
    rule = Rule.of(Config(schedule="cosine", warmup=10, lr=LR, epochs=STEPS), 1)
    for step in range(STEPS):
        assert rule.rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-10)
        optimizer.step()
        both.step()


def test_plateau(rng):
    costs = [*np.linspace(3, 1, 10), *[1.0] * 5, 0.9, *(1 + rng.random(20)), 0.2, *[0.3] * 10]
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, eps=0.0)
    plateau = Rule.of(Config(schedule="plateau"), 1).schedule
    for epoch, cost in enumerate(costs, start=1):
        theirs.step(cost)
        assert plateau.after(costs[:epoch]) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-10)
    assert plateau.after(costs) < 0.05
