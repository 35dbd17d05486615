"""What a network has to beat: the best constant prediction, and a linear model, on the same test rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from distbp.data.dataset import Array, DataSet, Gather, Rows

_MOST_NUMBERS = 1 << 23
"""Numbers of the training rows that the linear model is fitted to: rows at even distances if there are more."""
_MOST_INPUTS = 4096
"""With more inputs, or classes, there is no linear model: its normal equations would take longer than it is worth."""
_ROWS_AT_ONCE = 4096
_RIDGE = 1.0
"""What is added to the cost is half the squares of the coefficients, against the sum of the examples' costs."""
_STEPS = 40


def baselines(data: DataSet, dtype: str) -> dict[str, float]:
    """Return accuracy, or rmse and r2, of a constant and of a linear model on the test rows, by the summary's names.

    The linear model is fitted by least squares to values, by maximum likelihood to classes (multinomial logistic
    regression); its inputs are the network's, without the pieces of a table's numbers.
    """
    inputs = _linear_inputs(data.train)
    score = _accuracy if data.classes else _errors
    unit = 1.0 if data.preprocessing is None else data.preprocessing.target.deviation
    if data.classes:
        counts = np.bincount(data.train.y, data.train.weights, len(data.classes))
        constant = (np.arange(len(data.classes)) == counts.argmax()).astype(float)
    else:
        constant = np.average(data.train.y, axis=0, weights=data.train.weights)
    found = score(data.test, inputs, dtype, unit, lambda x: np.broadcast_to(constant, (len(x), len(constant))))
    told = {f"constant_test_{name}": value for name, value in found.items()}
    if max(len(inputs), len(data.classes)) <= _MOST_INPUTS:
        x, y, weights = _sample(data.train, inputs, dtype, len(data.classes))
        fitted = _logistic(x, y, weights, len(data.classes)) if data.classes else _least_squares(x, y, weights)
        found = score(data.test, inputs, dtype, unit, lambda x: x @ fitted)
        told |= {f"linear_test_{name}": value for name, value in found.items()}
    return told


def _linear_inputs(rows: Rows) -> Array:
    """Return which inputs a linear model sees: all but the pieces, which would make it one of curves."""
    if rows.encoding is None:
        return np.arange(rows.inputs)
    first = len(rows.encoding.numbers) + len(rows.encoding.marked)
    return np.delete(np.arange(rows.inputs), slice(first, first + len(rows.encoding.piece_of)))


def _blocks(rows: Rows, inputs: Array, dtype: str, chosen: Array) -> Iterator[tuple[Array, Array, Array | None]]:
    """Yield x with a column of ones, y and weights, block by block."""
    gather = Gather(rows, min(_ROWS_AT_ONCE, len(chosen)), dtype)
    for start in range(0, len(chosen), _ROWS_AT_ONCE):
        x, y = gather(chosen[start : start + _ROWS_AT_ONCE])
        with_one = np.ones((len(x), len(inputs) + 1), x.dtype)
        with_one[:, :-1] = x if len(inputs) == x.shape[1] else x[:, inputs]
        yield with_one, y.copy(), None if gather.weights is None else gather.weights.copy()


def _sample(rows: Rows, inputs: Array, dtype: str, classes: int) -> tuple[Array, Array, Array]:
    count = max(1, min(len(rows), _MOST_NUMBERS // max(len(inputs) + 1, classes)))
    chosen = ((np.arange(count) + 0.5) * len(rows) / count).astype(np.intp)
    blocks = list(_blocks(rows, inputs, dtype, chosen))
    weights = [np.ones(len(y)) if each is None else each.astype(np.float64) for _, y, each in blocks]
    return np.concatenate([x for x, _, _ in blocks]), np.concatenate([y for _, y, _ in blocks]), np.concatenate(weights)


def _gram(x: Array, weights: Array) -> Array:
    """Return x' W x in double precision."""
    weighted = x * weights.astype(x.dtype)[:, None]
    gram: Array = (weighted.T @ x).astype(np.float64)
    return gram


def _least_squares(x: Array, y: Array, weights: Array) -> Array:
    right = x.T.astype(np.float64) @ (y * weights[:, None])
    fitted: Array = np.linalg.solve(_gram(x, weights) + _RIDGE * np.eye(x.shape[1]), right)
    return fitted


def _logistic(x: Array, y: Array, weights: Array, classes: int) -> Array:
    """Return the coefficients of multinomial logistic regression, shape (inputs + 1, classes).

    Steps use the fixed bound of the Hessian by Böhning ("Multinomial logistic regression algorithm", 1992), with
    Nesterov's momentum.
    """
    inverse = np.linalg.inv(_gram(x, weights) / 2 + _RIDGE * np.eye(x.shape[1])).astype(x.dtype)
    fitted = before = np.zeros((x.shape[1], classes), x.dtype)
    targets = np.eye(classes, dtype=x.dtype)[y]
    weight = weights.astype(x.dtype)[:, None]
    for step in range(_STEPS):
        ahead = fitted + (step - 1) / (step + 2) * (fitted - before) if step else fitted
        z = x @ ahead
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        before, fitted = fitted, ahead + inverse @ (x.T @ (weight * (targets - z)) - _RIDGE * ahead)
    return fitted


def _accuracy(rows: Rows, inputs: Array, dtype: str, unit: float, model: Callable[[Array], Array]) -> dict[str, float]:
    right = 0
    for x, y, _ in _blocks(rows, inputs, dtype, np.arange(len(rows))):
        right += int((model(x).argmax(axis=1) == y).sum())
    return {"accuracy": right / len(rows)}


def _errors(rows: Rows, inputs: Array, dtype: str, unit: float, model: Callable[[Array], Array]) -> dict[str, float]:
    squares = np.zeros(rows.y.shape[1])
    for x, y, _ in _blocks(rows, inputs, dtype, np.arange(len(rows))):
        squares += np.square(model(x) - y.astype(np.float64)).sum(axis=0)
    spread = np.square(rows.y - rows.y.mean(axis=0, dtype=np.float64)).sum(axis=0)
    explained = np.where(spread > 0, 1 - squares / np.where(spread > 0, spread, 1), squares == 0)
    return {"rmse": unit * float(np.sqrt(squares.sum() / rows.y.size)), "r2": float(explained.mean())}
