"""Scores of a constant and of a linear model on the test rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from distbp.data.dataset import Array, DataSet, Rows
from distbp.data.reporting import Note, silent
from distbp.nn.scores import r2_score
from distbp.training.baseline.least_squares import least_squares
from distbp.training.baseline.logistic import logistic
from distbp.training.baseline.sample import blocks_of, sample_of

_MOST_INPUTS = 4096
"""With more inputs, or classes, there is no linear model: fitting it would take longer than it is worth."""
_ROWS_AT_ONCE = 1024

_Model = Callable[[Array], Array]
_Score = Callable[[Rows, float, Iterator[tuple[Array, Array]]], dict[str, Any]]


def baselines(data: DataSet, dtype: str, note: Note = silent) -> dict[str, Any]:
    """Return accuracy, or rmse and r2, of a constant and of a linear model on the test rows, by the summary's names.

    Both are fitted to the training rows with the weights that training gives them, classes' included. The linear model
    is least squares for values, also for several labels per row, and multinomial logistic regression for classes; its
    inputs are the network's, without the pieces of a table's numbers. Where numbers are too large for it there is
    none, and ``note`` is told so. ``linear_converged`` is False where its descent ended before its slope was small.
    """
    inputs = _linear_inputs(data.train)
    score: _Score = _accuracy if data.classes else _errors
    unit = 1.0 if data.preprocessing is None else data.preprocessing.target.deviation
    told: dict[str, Any] = {}
    with np.errstate(all="ignore"):  # what is not finite is told in a note
        constant = _constant(data)
        parts = range(0, len(data.test), _ROWS_AT_ONCE)
        blocks = [data.test.y[start : start + _ROWS_AT_ONCE] for start in parts]
        found = score(data.test, unit, ((np.broadcast_to(constant, (len(y), len(constant))), y) for y in blocks))
        if np.isfinite(list(found.values())).all():
            told |= {f"constant_test_{name}": value for name, value in found.items()}
        if data.train.weights is not None and not data.train.weights.any():
            note("no linear model to compare with: no training row counts")
            return told
        if max(len(inputs), len(data.classes)) > _MOST_INPUTS:
            return told
        model, evaluations = _fitted(data, inputs, dtype)
        if model is not None:
            every = blocks_of(data.test, inputs, dtype, np.arange(len(data.test)))
            found = score(data.test, unit, ((model(x), y) for x, y, _ in every))
    if model is None or not np.isfinite(list(found.values())).all():
        note("no linear model to compare with: the numbers are too large for one")
        return told
    told |= {f"linear_test_{name}": value for name, value in found.items()}
    if evaluations:
        note(f"the linear model had not converged after {evaluations} evaluations: it may reach more than its figure")
        told["linear_converged"] = False
    return told


def _constant(data: DataSet) -> Array:
    """Return what always to say: 1 at the most frequent class, or the mean of the values."""
    constant: Array = np.zeros(len(data.classes))
    if data.classes:
        constant[np.bincount(data.train.y, data.train.weights, len(data.classes)).argmax()] = 1
    else:
        weights = data.train.weights
        counts = np.ones(len(data.train)) if weights is None or not weights.any() else weights.astype(np.float64)
        constant = counts @ data.train.y / counts.sum()
    return constant


def _linear_inputs(rows: Rows) -> Array:
    """Return which inputs a linear model sees: all but the pieces, which would make it one of curves."""
    if rows.encoding is None:
        return np.arange(rows.inputs)
    first = len(rows.encoding.numbers.positions) + len(rows.encoding.numbers.marked)
    return np.delete(np.arange(rows.inputs), slice(first, first + len(rows.encoding.pieces.number)))


def _fitted(data: DataSet, inputs: Array, dtype: str) -> tuple[_Model | None, int]:
    """Return the linear model, None if it cannot be computed, and after how many evaluations it had not converged."""
    sample = sample_of(data.train, inputs, dtype, data.outputs)
    unfinished = 0
    try:
        if data.classes:
            found = logistic(sample, len(data.classes), dtype)
            coefficients, constant = found.coefficients, found.constant
            unfinished = 0 if found.has_converged else found.evaluations
        else:
            coefficients, constant = least_squares(sample)
    except np.linalg.LinAlgError:
        return None, 0
    if not (np.isfinite(coefficients).all() and np.isfinite(constant).all()):
        return None, 0
    scale = sample.scale
    return (lambda x: scale(x) @ coefficients + constant), unfinished


def _accuracy(rows: Rows, unit: float, blocks: Iterator[tuple[Array, Array]]) -> dict[str, Any]:
    right = sum(int((said.argmax(axis=1) == y).sum()) for said, y in blocks)
    return {"accuracy": right / len(rows)}


def _errors(rows: Rows, unit: float, blocks: Iterator[tuple[Array, Array]]) -> dict[str, Any]:
    squares = np.zeros(rows.y.shape[1])
    for said, y in blocks:
        squares += np.square(said - y.astype(np.float64)).sum(axis=0)
    return {"rmse": unit * float(np.sqrt(squares.sum() / rows.y.size)), "r2": r2_score(rows.y, squares)}
