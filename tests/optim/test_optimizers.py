import numpy as np
import pytest

from distbp.config import Config
from distbp.optim import SGD, Adam, optimizer_of

LR = 0.05
OPTIMIZERS = {"plain": SGD(), "momentum": SGD(0.9), "nesterov": SGD(0.9, True), "adam": Adam()}
every = pytest.mark.parametrize("name", OPTIMIZERS)


def gradients(steps, count=1000, dtype="float64"):
    return np.random.default_rng(1).normal(size=(steps, count)).astype(dtype)


def start(optimizer, count=1000, dtype="float64"):
    state = np.zeros((1 + len(optimizer.slots), count), dtype)
    state[0] = np.random.default_rng(2).normal(size=count)
    return state


def after(optimizer, state, mean_gradients):
    """Return the state after all steps; each step gets a read-only state."""
    for number, gradient in enumerate(mean_gradients):
        state.flags.writeable = False
        new, scratch = np.empty_like(state), np.empty_like(gradient)
        optimizer.update(state, new, gradient.copy(), number, LR, scratch)
        state = new
    return state


def sgd(w, mean_gradients):
    for gradient in mean_gradients:
        w = w - LR * gradient
    return w


def momentum(w, mean_gradients):
    velocity = 0
    for gradient in mean_gradients:
        velocity = 0.9 * velocity - LR * gradient
        w = w + velocity
    return w


def nesterov(w, mean_gradients):
    """Sutskever's form: the gradient is taken at ahead = w + momentum * velocity, and ahead is what is stored."""
    velocity, ahead = 0, w
    for gradient in mean_gradients:
        w = ahead - 0.9 * velocity
        velocity = 0.9 * velocity - LR * gradient
        w = w + velocity
        ahead = w + 0.9 * velocity
    return ahead


def adam(w, mean_gradients):
    mean = square = 0
    for t, gradient in enumerate(mean_gradients, start=1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        w = w - LR * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
    return w


REFERENCES = {"plain": sgd, "momentum": momentum, "nesterov": nesterov, "adam": adam}


@every
@pytest.mark.parametrize("steps", [1, 2, 25])
def test_weights_follow_the_formula(name, steps):
    optimizer = OPTIMIZERS[name]
    state = start(optimizer)
    expected = REFERENCES[name](state[0].copy(), gradients(steps))
    assert after(optimizer, state, gradients(steps))[0] == pytest.approx(expected, rel=1e-12, abs=1e-12)


@every
def test_weights_follow_the_formula_in_float32(name):
    optimizer = OPTIMIZERS[name]
    state = start(optimizer, dtype="float32")
    expected = REFERENCES[name](state[0].astype(np.float64), gradients(25, dtype="float32").astype(np.float64))
    found = after(optimizer, state, gradients(25, dtype="float32"))
    assert found.dtype == np.float32
    assert found[0] == pytest.approx(expected, rel=1e-5, abs=1e-5)


@every
@pytest.mark.parametrize("block", [1, 7, 64, 999])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_updating_block_by_block_gives_the_same_bits(name, block, dtype):
    optimizer = OPTIMIZERS[name]
    old = after(optimizer, start(optimizer, dtype=dtype), gradients(3, dtype=dtype))
    old.flags.writeable = False
    gradient, scratch = gradients(4, dtype=dtype)[3], np.empty(1000, dtype)
    whole, parts = np.empty_like(old), np.empty_like(old)
    optimizer.update(old, whole, gradient.copy(), 3, LR, scratch)
    for first in reversed(range(0, 1000, block)):
        columns = slice(first, first + block)
        optimizer.update(old[:, columns], parts[:, columns], gradient[columns].copy(), 3, LR, scratch[columns])
    assert parts.tobytes() == whole.tobytes()


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_first_step_of_adam_is_lr_for_gradients_of_any_size(size):
    state = after(Adam(), np.zeros((3, 2)), np.array([[size, -size]]))
    assert state[0] == pytest.approx([-LR, LR], rel=1e-4)


@every
def test_gradient_of_0_does_not_change_new_weights(name):
    state = start(OPTIMIZERS[name])
    assert after(OPTIMIZERS[name], state, np.zeros((3, 1000)))[0].tobytes() == state[0].tobytes()


def test_optimizer_is_created_by_name():
    assert optimizer_of(Config(optimizer="adam")) == Adam()
    assert optimizer_of(Config(optimizer="sgd", momentum=0.8, nesterov=True)) == SGD(0.8, True)
    assert optimizer_of(Config(optimizer="sgd", momentum=0.0)).slots == ()
    assert optimizer_of(Config(optimizer="sgd", momentum=0.8)).slots == ("velocity",)
    assert optimizer_of(Config(optimizer="adam")).slots == ("mean", "square")
