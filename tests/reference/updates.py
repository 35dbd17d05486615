"""Update of ONE parameter from its gradient, and step size from the step number t, by the papers' formulas.

Settings have the user's names; a missing setting has its documented default.
"""

from math import cos, pi, sqrt

RATES = {"sgd": 0.1, "adagrad": 0.01, "lion": 0.0003, "rmsprop": 0.001, "adam": 0.001, "adamw": 0.001}


class Parameter:
    """One weight or bias and its optimizer state."""

    def __init__(self, value, settings):
        self.value = value
        self._name = settings.get("optimizer", "adam")
        self._momentum = settings.get("momentum", 0.9)
        self._nesterov = settings.get("nesterov", False)
        self._decay = settings.get("weight_decay", 0.01)
        self._velocity = self._mean = self._square = 0.0
        self._t = 0

    def follow(self, g, rate):
        """Take a step against the gradient g."""
        self._t += 1
        getattr(self, f"_{self._name}")(g, rate)

    def _sgd(self, g, rate):
        self._velocity = self._momentum * self._velocity - rate * g
        ahead = self._momentum * self._velocity - rate * g
        self.value += ahead if self._nesterov else self._velocity

    def _adagrad(self, g, rate):
        self._square += g**2
        self.value -= rate * g / (sqrt(self._square) + 1e-10)

    def _rmsprop(self, g, rate):
        self._square = 0.99 * self._square + 0.01 * g**2
        self.value -= rate * g / (sqrt(self._square) + 1e-8)

    def _adam(self, g, rate):
        self._mean = 0.9 * self._mean + 0.1 * g
        self._square = 0.999 * self._square + 0.001 * g**2
        mean, square = self._mean / (1 - 0.9**self._t), self._square / (1 - 0.999**self._t)
        self.value -= rate * mean / (sqrt(square) + 1e-8)

    def _adamw(self, g, rate):
        self.value -= rate * self._decay * self.value
        self._adam(g, rate)

    def _lion(self, g, rate):
        blend = 0.9 * self._mean + 0.1 * g
        self.value -= rate * ((blend > 0) - (blend < 0) + self._decay * self.value)
        self._mean = 0.99 * self._mean + 0.01 * g


def _one_cycle(t, steps):
    top, last = 0.3 * steps - 1, steps - 1
    if top > 0 and t <= top:
        return 1 + (1 / 25 - 1) * (1 + cos(pi * t / top)) / 2
    share = (t - top) / (last - top) if last > top else 0.0
    return 4e-6 + (1 - 4e-6) * (1 + cos(pi * share)) / 2


SCHEDULES = {
    "constant": lambda t, steps: 1.0,
    "step": lambda t, steps: (1.0, 0.1, 0.01)[3 * t // steps],
    "exponential": lambda t, steps: 0.01 ** (t / steps),
    "inverse-time": lambda t, steps: 1 / (1 + 9 * t / steps),
    "cosine": lambda t, steps: (1 + cos(pi * t / steps)) / 2,
    "one-cycle": _one_cycle,
    "plateau": lambda t, steps: 1.0,
}
"""Factor of the step size in step t = 0.. of ``steps``."""


def rate(settings, t, steps):
    """Return the step size of step t, before the plateau schedule."""
    lr = settings.get("lr", RATES[settings.get("optimizer", "adam")])
    warmup = settings.get("warmup", 0)
    if t < warmup:
        return lr * (t + 1) / warmup
    return lr * SCHEDULES[settings.get("schedule", "constant")](t - warmup, steps - warmup)


class Plateau:
    """Halve the rate after more than two epochs without a relative improvement of 1e-4 over the best cost."""

    def __init__(self):
        self.factor, self._best, self._bad = 1.0, None, 0

    def epoch(self, cost):
        """Record the cost of an epoch."""
        if self._best is None or cost < self._best - 1e-4 * abs(self._best):
            self._best, self._bad = cost, 0
        else:
            self._bad += 1
        if self._bad > 2:
            self.factor, self._bad = self.factor / 2, 0
