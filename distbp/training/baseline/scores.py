"""Test scores of the baselines: a constant prediction and a linear model."""

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
"""Most inputs and classes of a linear model; with more, fitting it would take too long."""
_ROWS_AT_ONCE = 1024

_Model = Callable[[Array], Array]
_Score = Callable[[Rows, float, Iterator[tuple[Array, Array]]], dict[str, Any]]


def baselines(data: DataSet, dtype: str, note: Note = silent) -> dict[str, Any]:
    """Return accuracy, or rmse and r2, of a constant and of a linear model on the test rows, by the summary's names.

    Both are fitted to the training rows with their weights, including class weights. The linear model is multinomial
    logistic regression for classes, else ridge regression, also for several labels per row. Its inputs are those of the
    network, without the pieces of a table's numbers. If numbers overflow, there are no scores, and a note says so.
    ``linear_converged`` is False if the fit was stopped before it converged.
    """
    inputs = _linear_inputs(data.train)
    score: _Score = _accuracy if data.classes else _errors
    unit = 1.0 if data.preprocessing is None else data.preprocessing.target.deviation
    summary: dict[str, Any] = {}
    with np.errstate(all="ignore"):  # a note reports overflow
        constant = _constant(data)
        parts = range(0, len(data.test), _ROWS_AT_ONCE)
        blocks = [data.test.y[start : start + _ROWS_AT_ONCE] for start in parts]
        scores = score(data.test, unit, ((np.broadcast_to(constant, (len(y), len(constant))), y) for y in blocks))
        if np.isfinite(list(scores.values())).all():
            summary |= {f"constant_test_{name}": value for name, value in scores.items()}
        if data.train.weights is not None and not data.train.weights.any():
            note("no linear model to compare with: all training rows have weight 0")
            return summary
        if max(len(inputs), len(data.classes)) > _MOST_INPUTS:
            return summary
        model, evaluations = _fitted(data, inputs, dtype)
        if model is not None:
            test_blocks = blocks_of(data.test, inputs, dtype, np.arange(len(data.test)))
            scores = score(data.test, unit, ((model(x), y) for x, y, _ in test_blocks))
    if model is None or not np.isfinite(list(scores.values())).all():
        note("no linear model to compare with: the numbers are too large for one")
        return summary
    summary |= {f"linear_test_{name}": value for name, value in scores.items()}
    if evaluations:
        note(f"the linear model had not converged after {evaluations} evaluations: its score may be too low")
        summary["linear_converged"] = False
    return summary


def _constant(data: DataSet) -> Array:
    """Return the best constant prediction: 1 at the most frequent class, or the mean of the values."""
    constant: Array = np.zeros(len(data.classes))
    if data.classes:
        constant[np.bincount(data.train.y, data.train.weights, len(data.classes)).argmax()] = 1
    else:
        weights = data.train.weights
        counts = np.ones(len(data.train)) if weights is None or not weights.any() else weights.astype(np.float64)
        constant = counts @ data.train.y / counts.sum()
    return constant


def _linear_inputs(rows: Rows) -> Array:
    """Return the inputs of the linear model: all but the pieces of numbers, which would make it nonlinear."""
    if rows.encoding is None:
        return np.arange(rows.inputs)
    first = len(rows.encoding.numbers.positions) + len(rows.encoding.numbers.marked)
    return np.delete(np.arange(rows.inputs), slice(first, first + len(rows.encoding.pieces.number)))


def _fitted(data: DataSet, inputs: Array, dtype: str) -> tuple[_Model | None, int]:
    """Return the linear model, None on overflow, and the evaluations of a fit that did not converge, else 0."""
    sample = sample_of(data.train, inputs, dtype, data.outputs)
    stopped_after = 0
    try:
        if data.classes:
            fitted = logistic(sample, len(data.classes), dtype)
            coefficients, constant = fitted.coefficients, fitted.constant
            stopped_after = 0 if fitted.has_converged else fitted.evaluations
        else:
            coefficients, constant = least_squares(sample)
    except np.linalg.LinAlgError:
        return None, 0
    if not (np.isfinite(coefficients).all() and np.isfinite(constant).all()):
        return None, 0
    scale = sample.scale
    return (lambda x: scale(x) @ coefficients + constant), stopped_after


def _accuracy(rows: Rows, unit: float, blocks: Iterator[tuple[Array, Array]]) -> dict[str, Any]:
    right = sum(int((outputs.argmax(axis=1) == y).sum()) for outputs, y in blocks)
    return {"accuracy": right / len(rows)}


def _errors(rows: Rows, unit: float, blocks: Iterator[tuple[Array, Array]]) -> dict[str, Any]:
    squares = np.zeros(rows.y.shape[1])
    for outputs, y in blocks:
        squares += np.square(outputs - y.astype(np.float64)).sum(axis=0)
    return {"rmse": unit * float(np.sqrt(squares.sum() / rows.y.size)), "r2": r2_score(rows.y, squares)}
