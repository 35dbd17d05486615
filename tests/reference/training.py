"""A complete trainer in plain float64 loops: the result that a step of distbp must have on any number of workers.

It follows the lecture and the documented options and shares no code with distbp. Order of operations on the gradient
of a mini-batch: mean, penalties, connections, clip-value, clip-norm, optimizer, max-norm.
"""

from math import sqrt
from typing import Any, NamedTuple

from reference.passes import as_flat, as_layers, backward
from reference.updates import Parameter, Plateau, rate


class Step(NamedTuple):
    """Weights, cost and counts after a step."""

    cost: float
    """Mean cost of the examples before the update, without penalties."""
    right: int
    """Examples whose class has the largest output."""
    weights: list[float]
    """The flat parameter vector after the update."""
    norms: Any = None
    """Norms of each layer, w and b together: of the gradient (with penalties and clip-value, without clip-norm), of
    the change, and of the parameters before it. None where they are not known."""


class Problem(NamedTuple):
    """A network and its training rows, as lists."""

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    cost: str
    x: list[list[float]]
    y: list[Any]
    """Class numbers, or lists of values."""
    weights: list[float]
    """Weight of each row."""
    connections: Any = ()
    """For each layer None, or lists of w's shape with 1 for a connection and 0 for none."""


def row_weights(y, classes, weights=None, class_weights=None):
    """Return each row's weight times the weight of its class; ``balanced`` gives classes equal totals."""
    counts = [1.0] * len(y) if weights is None else [float(each) for each in weights]
    if class_weights == "balanced":
        return [count * len(y) / (len(classes) * list(y).count(k)) for count, k in zip(counts, y, strict=True)]
    if class_weights is not None:
        return [count * class_weights.get(classes[k], 1.0) for count, k in zip(counts, y, strict=True)]
    return counts


def mean_cost(problem, weights):
    """Return the unweighted mean cost of a problem's rows."""
    layers = as_layers(weights, problem.sizes)
    each = [
        backward(layers, problem.activations, problem.cost, x, y)[0] for x, y in zip(problem.x, problem.y, strict=True)
    ]
    return sum(each) / len(each)


def train(problem, settings, initial, rows_of, steps_per_epoch, kept=None, validation=None):
    """Yield each Step of the run.

    ``rows_of(step)`` returns the row numbers of a mini-batch; ``kept(step, count)`` returns, for each of its examples
    and each hidden layer, the nodes that dropout keeps. The plateau schedule uses the cost of ``validation``, if given.
    """
    steps = settings["epochs"] * steps_per_epoch
    parameters = [Parameter(value, settings) for value in initial]
    plateau, of_epoch = Plateau(), []
    for step in range(steps):
        weights = [parameter.value for parameter in parameters]
        rows = list(rows_of(step))
        stays = kept(step, len(rows)) if kept is not None and settings.get("dropout") else None
        cost, gradient, right, counted = _mini_batch(problem, settings, weights, rows, stays)
        layers = as_layers(weights, problem.sizes)
        gradient = _regularise(as_layers(gradient, problem.sizes), layers, problem, settings)
        size = rate(settings, step, steps) * plateau.factor
        for parameter, g in zip(parameters, _clip_norm(gradient, settings.get("clip_norm")), strict=True):
            parameter.follow(g, size)
        _apply_max_norm(parameters, problem.sizes, settings.get("max_norm"))
        change = [parameter.value - before for parameter, before in zip(parameters, weights, strict=True)]
        norms = [_norms(flat, problem.sizes) for flat in (gradient, change, weights)]
        of_epoch.append((cost, counted))
        if (step + 1) % steps_per_epoch == 0 and settings.get("schedule") == "plateau":
            mean = sum(c * n for c, n in of_epoch) / sum(n for _, n in of_epoch)
            plateau.epoch(mean if validation is None else mean_cost(validation, [each.value for each in parameters]))
            of_epoch = []
        yield Step(cost, right, [parameter.value for parameter in parameters], norms)


def _mini_batch(problem, settings, flat, rows, stays):
    """Return the mean cost, its flat gradient, the number of right answers and the total weight."""
    layers = as_layers(flat, problem.sizes)
    scale = 1 / (1 - settings.get("dropout", 0.0))
    total, right = 0.0, 0
    gradient = [0.0] * len(flat)
    counted = sum(problem.weights[row] for row in rows)
    for place, row in enumerate(rows):
        factors = [[scale if stay else 0.0 for stay in layer] for layer in stays[place]] if stays else ()
        cost, own, answer = backward(
            layers,
            problem.activations,
            problem.cost,
            problem.x[row],
            problem.y[row],
            factors,
            settings.get("label_smoothing", 0.0),
        )
        total += problem.weights[row] * cost
        for i, g in enumerate(as_flat(own)):
            gradient[i] += problem.weights[row] * g
        if not isinstance(problem.y[row], list):
            chosen = int(answer[0] > 0.5) if len(answer) == 1 else answer.index(max(answer))
            right += chosen == problem.y[row]
    by = counted or 1.0
    return total / by, [g / by for g in gradient], right, counted


def _regularise(gradient, layers, problem, settings):
    """Add penalties to the flat gradient, zero removed connections and clip each element."""
    l1, l2 = settings.get("l1", 0.0), settings.get("l2", 0.0)
    for l, ((gw, _), (w, _)) in enumerate(zip(gradient, layers, strict=True)):
        there = problem.connections[l] if problem.connections else None
        for k in range(len(w)):
            for j in range(len(w[k])):
                gw[k][j] += l1 * ((w[k][j] > 0) - (w[k][j] < 0)) + l2 * w[k][j]
                if there is not None:
                    gw[k][j] *= there[k][j]
    flat = as_flat(gradient)
    if (most := settings.get("clip_value")) is not None:
        flat = [max(-most, min(most, g)) for g in flat]
    return flat


def _clip_norm(flat, most):
    """Return the flat gradient with its norm clipped to ``most``."""
    length = sqrt(sum(g**2 for g in flat))
    return flat if most is None or length <= most else [g * most / length for g in flat]


def _norms(flat, sizes):
    return [sqrt(sum(number**2 for number in as_flat([layer]))) for layer in as_layers(flat, sizes)]


def _apply_max_norm(parameters, sizes, most):
    """Apply max-norm to the incoming weights of each node."""
    if most is None:
        return
    for w, _ in as_layers(parameters, sizes):
        for incoming in w:
            length = sqrt(sum(parameter.value**2 for parameter in incoming))
            if length > most:
                for parameter in incoming:
                    parameter.value *= most / length
