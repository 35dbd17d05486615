"""Activations, costs and their derivatives as textbook formulas on single Python floats."""

from math import cosh, exp, expm1, log, log1p, pi, sqrt, tanh


def sigmoid(u):
    """Return 1 / (1 + e^-u) without overflow."""
    return 1 / (1 + exp(-u)) if u >= 0 else exp(u) / (1 + exp(u))


def gelu_inner(u):
    """Return the argument of tanh in the usual approximation of gelu."""
    return sqrt(2 / pi) * (u + 0.044715 * u**3)


ACTIVATIONS = {
    "identity": (lambda u: u, lambda u: 1.0),
    "sigmoid": (sigmoid, lambda u: sigmoid(u) * (1 - sigmoid(u))),
    "tanh": (tanh, lambda u: 1 / cosh(u) ** 2),
    "relu": (lambda u: u if u > 0 else 0.0, lambda u: 1.0 if u > 0 else 0.0),
    "leaky-relu": (lambda u: u if u > 0 else 0.01 * u, lambda u: 1.0 if u > 0 else 0.01),
    "elu": (lambda u: u if u > 0 else expm1(u), lambda u: 1.0 if u > 0 else exp(u)),
    "softplus": (lambda u: max(u, 0.0) + log1p(exp(-abs(u))), sigmoid),
    "swish": (lambda u: u * sigmoid(u), lambda u: sigmoid(u) + u * sigmoid(u) * (1 - sigmoid(u))),
    "gelu": (
        lambda u: u / 2 * (1 + tanh(gelu_inner(u))),
        lambda u: (
            (1 + tanh(gelu_inner(u))) / 2 + u / 2 / cosh(gelu_inner(u)) ** 2 * sqrt(2 / pi) * (1 + 3 * 0.044715 * u**2)
        ),
    ),
}
"""sigma(u) and sigma'(u) by name; softmax is not elementwise (see passes.py)."""


def softmax(z):
    """Return e^{z_k} / sum_i e^{z_i} for each k."""
    powers = [exp(each - max(z)) for each in z]
    return [power / sum(powers) for power in powers]


def _huber(d):
    return d**2 / 2 if abs(d) <= 1 else abs(d) - 1 / 2


def _sign(d):
    return (d > 0) - (d < 0)


COSTS = {
    "mse": (lambda a, y: (y - a) ** 2, lambda a, y: -2 * (y - a)),
    "mae": (lambda a, y: abs(y - a), lambda a, y: float(_sign(a - y))),
    "huber": (lambda a, y: _huber(a - y), lambda a, y: a - y if abs(a - y) <= 1 else float(_sign(a - y))),
    "poisson": (lambda a, y: a - y * log(a), lambda a, y: 1 - y / a),
    "cross-entropy": (lambda a, y: -y * log(a), lambda a, y: -y / a),
    "binary-cross-entropy": (
        lambda a, y: -y * log(a) - (1 - y) * log(1 - a),
        lambda a, y: -y / a + (1 - y) / (1 - a),
    ),
}
"""Contribution of one output node to C, and its dC/da, by the cost's name: C is the SUM over the output nodes."""


def aims(y, nodes, cost, smoothing):
    """Return the target vector: a smoothed one-hot vector for a class; a row of values unchanged."""
    if isinstance(y, list):
        return y
    one_hot = [float(y)] if nodes == 1 else [1.0 if node == y else 0.0 for node in range(nodes)]
    spread = smoothing / 2 if cost == "binary-cross-entropy" else smoothing / nodes
    return [(1 - smoothing) * each + spread for each in one_hot]
