"""What a network has to beat: the best constant prediction, and a linear model, on the same test rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from distbp.data.dataset import Array, DataSet, Gather, Rows
from distbp.data.formats.table import Note, unheard

_MOST_NUMBERS = 1 << 23
"""Numbers of the training rows that the linear model is fitted to: rows at even distances if there are more."""
_MOST_INPUTS = 4096
"""With more inputs, or classes, there is no linear model: its normal equations would take longer than it is worth."""
_ROWS_AT_ONCE = 1024
_RIDGE = 1.0
"""What is added to the cost is half the squares of the coefficients, against the sum of the examples' costs."""
_LEAST_RIDGE = {"float32": 1e-6, "float64": 1e-12}
"""At least this share of the rows is added, for standardised inputs: below it, what differs is rounding."""
_STEPS = 40

_Model = Callable[[Array], Array]


def baselines(data: DataSet, dtype: str, note: Note = unheard) -> dict[str, float]:
    """Return accuracy, or rmse and r2, of a constant and of a linear model on the test rows, by the summary's names.

    The linear model is fitted by least squares to values, by maximum likelihood to classes (multinomial logistic
    regression); its inputs are the network's, without the pieces of a table's numbers. Where numbers are too large
    for it there is none, and ``note`` is told so.
    """
    inputs = _linear_inputs(data.train)
    score: Callable[[Rows, float, Iterator[tuple[Array, Array]]], dict[str, float]]
    score = _accuracy if data.classes else _errors
    unit = 1.0 if data.preprocessing is None else data.preprocessing.target.deviation
    told: dict[str, float] = {}
    with np.errstate(all="ignore"):  # what is not finite is told in a note
        constant = _constant(data)
        parts = range(0, len(data.test), _ROWS_AT_ONCE)
        blocks = [data.test.y[start : start + _ROWS_AT_ONCE] for start in parts]
        found = score(data.test, unit, ((np.broadcast_to(constant, (len(y), len(constant))), y) for y in blocks))
        if np.isfinite(list(found.values())).all():
            told |= {f"constant_test_{name}": value for name, value in found.items()}
        if max(len(inputs), len(data.classes)) > _MOST_INPUTS:
            return told
        model = _fitted(data, inputs, dtype)
        if model is not None:
            every = _blocks(data.test, inputs, dtype, np.arange(len(data.test)))
            found = score(data.test, unit, ((model(x), y) for x, y, _ in every))
    if model is not None and np.isfinite(list(found.values())).all():
        return told | {f"linear_test_{name}": value for name, value in found.items()}
    note("no linear model to compare with: the numbers are too large for one")
    return told


def _constant(data: DataSet) -> Array:
    """Return what always to say: 1 at the most frequent class, or the mean of the values."""
    constant: Array = np.zeros(len(data.classes))
    if data.classes:
        constant[np.bincount(data.train.y, data.train.weights, len(data.classes)).argmax()] = 1
    else:
        constant = np.average(data.train.y, axis=0, weights=data.train.weights)
    return constant


def _linear_inputs(rows: Rows) -> Array:
    """Return which inputs a linear model sees: all but the pieces, which would make it one of curves."""
    if rows.encoding is None:
        return np.arange(rows.inputs)
    first = len(rows.encoding.numbers) + len(rows.encoding.marked)
    return np.delete(np.arange(rows.inputs), slice(first, first + len(rows.encoding.piece_of)))


def _blocks(rows: Rows, inputs: Array, dtype: str, chosen: Array) -> Iterator[tuple[Array, Array, Array | None]]:
    """Yield x, y and weights, block by block."""
    gather = Gather(rows, min(_ROWS_AT_ONCE, len(chosen)), dtype)
    for start in range(0, len(chosen), _ROWS_AT_ONCE):
        x, y = gather(chosen[start : start + _ROWS_AT_ONCE])
        x = x.copy() if len(inputs) == x.shape[1] else x[:, inputs]
        yield x, y.copy(), None if gather.weights is None else gather.weights.copy()


class _Standard(NamedTuple):
    """What inputs are standardised by, so that neither their unit nor their distance from 0 makes them alike."""

    mean: Array
    deviation: Array

    def __call__(self, x: Array) -> Array:
        """Return standardised inputs with a column of ones behind them."""
        out = np.ones((len(x), x.shape[1] + 1), x.dtype)
        out[:, :-1] = (x - self.mean) / self.deviation
        return out


def _fitted(data: DataSet, inputs: Array, dtype: str) -> _Model | None:
    """Return the linear model, None if it cannot be computed."""
    rows, classes = data.train, len(data.classes)
    count = max(1, min(len(rows), _MOST_NUMBERS // max(len(inputs) + 1, classes)))
    chosen = ((np.arange(count) + 0.5) * len(rows) / count).astype(np.intp)
    blocks = list(_blocks(rows, inputs, dtype, chosen))
    weights = np.concatenate([np.ones(len(y)) if each is None else each.astype(np.float64) for _, y, each in blocks])
    standard = _standard([x for x, _, _ in blocks], weights)
    x, y = np.concatenate([standard(x) for x, _, _ in blocks]), np.concatenate([y for _, y, _ in blocks])
    del blocks
    try:
        if classes:
            fitted = _logistic(x, y, weights, classes, _ridge(standard, weights, _LEAST_RIDGE[dtype]))
        else:
            fitted = _least_squares(x, y, weights, _ridge(standard, weights, _LEAST_RIDGE["float64"]))
    except np.linalg.LinAlgError:
        return None
    return (lambda x: standard(x) @ fitted) if np.isfinite(fitted).all() else None


def _standard(blocks: list[Array], weights: Array) -> _Standard:
    """Return mean and deviation of the inputs, infinite where they do not vary by more than rounding: they become 0."""
    total = max(float(weights.sum()), np.finfo(float).tiny)
    parts = np.split(weights, np.cumsum([len(x) for x in blocks])[:-1])
    mean = np.zeros(blocks[0].shape[1])
    for x, w in zip(blocks, parts, strict=True):
        mean += (w / total) @ x
    squares = np.zeros_like(mean)
    for x, w in zip(blocks, parts, strict=True):
        squares += (w / total) @ np.square(x - mean)
    deviation = np.sqrt(squares)
    return _Standard(mean, np.where(deviation > np.finfo(x.dtype).eps * np.abs(mean), deviation, np.inf))


def _ridge(standard: _Standard, weights: Array, least: float) -> Array:
    """Return what is added to the diagonal for standardised inputs, and for the constant behind them."""
    own = np.append(_RIDGE / np.square(standard.deviation), _RIDGE)
    ridge: Array = np.clip(own, least * weights.sum(), np.finfo(np.float32).max)
    return ridge


def _gram(x: Array, weights: Array) -> Array:
    """Return x' W x in double precision."""
    gram = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), _ROWS_AT_ONCE):
        part = x[start : start + _ROWS_AT_ONCE].astype(np.float64)
        gram += (part * weights[start : start + _ROWS_AT_ONCE, None]).T @ part
    return gram


def _least_squares(x: Array, y: Array, weights: Array, ridge: Array) -> Array:
    right = x.T.astype(np.float64) @ (y * weights[:, None])
    fitted: Array = np.linalg.solve(_gram(x, weights) + np.diag(ridge), right)
    return fitted


def _logistic(x: Array, y: Array, weights: Array, classes: int, ridge: Array) -> Array:
    """Return the coefficients of multinomial logistic regression, shape (inputs + 1, classes).

    Steps use the fixed bound of the Hessian by Böhning ("Multinomial logistic regression algorithm", 1992), with
    Nesterov's momentum.
    """
    inverse = np.linalg.inv(_gram(x, weights) / 2 + np.diag(ridge)).astype(x.dtype)
    fitted = before = np.zeros((x.shape[1], classes), x.dtype)
    targets = np.eye(classes, dtype=x.dtype)[y]
    weight, shrink = weights.astype(x.dtype)[:, None], ridge.astype(x.dtype)[:, None]
    for step in range(_STEPS):
        ahead = fitted + (step - 1) / (step + 2) * (fitted - before) if step else fitted
        z = x @ ahead
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        before, fitted = fitted, ahead + inverse @ (x.T @ (weight * (targets - z)) - shrink * ahead)
    return fitted


def _accuracy(rows: Rows, unit: float, blocks: Iterator[tuple[Array, Array]]) -> dict[str, float]:
    right = sum(int((said.argmax(axis=1) == y).sum()) for said, y in blocks)
    return {"accuracy": right / len(rows)}


def _errors(rows: Rows, unit: float, blocks: Iterator[tuple[Array, Array]]) -> dict[str, float]:
    squares = np.zeros(rows.y.shape[1])
    for said, y in blocks:
        squares += np.square(said - y.astype(np.float64)).sum(axis=0)
    spread = np.square(rows.y - rows.y.mean(axis=0, dtype=np.float64)).sum(axis=0)
    explained = np.where(spread > 0, 1 - squares / np.where(spread > 0, spread, 1), squares == 0)
    return {"rmse": unit * float(np.sqrt(squares.sum() / rows.y.size)), "r2": float(explained.mean())}
