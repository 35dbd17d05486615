"""Compare optimizers and schedules with independently written formulas."""

import math

import numpy as np
import pytest

from distbp.config import Config
from distbp.optim import Rule, optimizer_of

STEPS, COUNT, LR = 100, 50, 0.01


def adagrad(w, gradients):
    squares = 0
    for g in gradients:
        squares = squares + g**2
        w = w - LR * g / (np.sqrt(squares) + 1e-10)
    return w


def rmsprop(w, gradients):
    square = 0
    for g in gradients:
        square = 0.99 * square + 0.01 * g**2
        w = w - LR * g / (np.sqrt(square) + 1e-8)
    return w


def adamw(w, gradients):
    mean = square = 0
    for t, g in enumerate(gradients, start=1):
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        w = w - LR * 0.02 * w
        w = w - LR * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
    return w


def lion(w, gradients):
    mean = 0
    for g in gradients:
        w = w - LR * (np.sign(0.9 * mean + 0.1 * g) + 0.02 * w)
        mean = 0.99 * mean + 0.01 * g
    return w


@pytest.mark.parametrize("by_formula", [adagrad, rmsprop, adamw, lion])
def test_a_hundred_steps(by_formula, rng):
    name = by_formula.__name__
    settings = {"weight_decay": 0.02} if name in ("adamw", "lion") else {}
    optimizer = optimizer_of(Config(optimizer=name, **settings))
    state = np.zeros((1 + len(optimizer.slots), COUNT))
    state[0] = rng.normal(size=COUNT)
    gradients = rng.normal(size=(STEPS, COUNT))
    expected = by_formula(state[0], gradients)
    for step, gradient in enumerate(gradients):
        new = np.empty_like(state)
        optimizer.update(state, new, gradient.copy(), step, LR, np.empty(COUNT))
        state = new
    assert np.abs(state[0] - expected).max() / np.abs(expected).max() < 1e-10


T = 90
FORMULAS = {
    "constant": lambda t: 1,
    "step": lambda t: 0.1 ** (t // 30),
    "exponential": lambda t: 0.01 ** (t / T),
    "inverse-time": lambda t: 1 / (1 + 9 * t / T),
    "cosine": lambda t: (1 + math.cos(math.pi * t / T)) / 2,
    "plateau": lambda t: 1,
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("warmup", [0, 10])
def test_every_schedule_at_every_step(name, warmup):
    rule = Rule.of(Config(schedule=name, warmup=warmup, lr=LR, epochs=T + warmup), 1)
    for t in range(warmup):
        assert rule.rate(t) == pytest.approx(LR * (t + 1) / warmup, rel=1e-12)
    for t in range(T):
        assert rule.rate(t + warmup) == pytest.approx(LR * FORMULAS[name](t), rel=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 100])
def test_one_cycle_rises_once_and_falls_once(steps):
    rule = Rule.of(Config(schedule="one-cycle", lr=1.0, epochs=steps), 1)
    rates = [rule.rate(t) for t in range(steps)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < min(rates) <= max(rates) <= 1
    if steps == 100:
        assert (rates[0], rates[29], rates[99]) == pytest.approx((1 / 25, 1, 1 / 25e4))
