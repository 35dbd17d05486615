"""How good predictions are, by the usual measures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from distbp.nn.structure import Array

_SMALLEST = 1e-15
"""Probability below which the logarithm of the log-loss is taken no further."""

_MOST_CONFUSED = 2000


class Evaluation(NamedTuple):
    """How a network does on rows whose targets are known. What does not apply is None."""

    rows: int
    cost: float
    """Mean of the examples' costs, weighted by their rows' weights."""
    accuracy: float | None
    """Share of the rows whose class is right."""
    rmse: float | None
    """Root of the mean squared error over rows and values, in the targets' own unit."""
    r2: float | None
    """Share of the values' variance that is r2_score, averaged over the values of a row."""


class Predictions(NamedTuple):
    """What a network says of rows."""

    outputs: Array
    """a^L of each row, shape (rows, m_L)."""
    chosen: Array
    """The number of each row's class; empty for values."""
    adds_up: bool
    """Whether the outputs are probabilities as they are: a softmax, or labels of which a row may have several."""

    @property
    def probabilities(self) -> Array:
        """Each class's probability, shape (rows, classes): never negative, and 1 in sum.

        Outputs that need not be probabilities are made such: below 0 they count as 0, and each is divided by the sum
        of its row. If nothing is above 0 all classes have the same. A single node is held to 0..1 and is the second's.
        """
        a = self.outputs
        if a.shape[1] == 1:
            second = np.clip(a, 0, 1)
            return np.hstack([1 - second, second])
        if self.adds_up:
            return a
        positive = np.maximum(a, 0)
        with np.errstate(invalid="ignore"):  # of outputs that are infinite
            total = positive.sum(axis=1, keepdims=True, dtype=np.float64)  # of large single ones it would be infinite
            some: Array = np.where(total > 0, positive / np.where(total > 0, total, 1), 1 / a.shape[1])
        return some.astype(a.dtype, copy=False)


class ClassScores(NamedTuple):
    """How good predicted classes and their probabilities are."""

    accuracy: float
    log_loss: float
    roc_auc: float
    """Of two classes that of the second, else the mean over classes, each against the rest; NaN with one class."""
    confusion: Array | None
    """Rows by true class, columns by predicted class, shape (classes, classes); None with over 2,000 classes."""
    precision: Array
    """Per class, NaN where it was never predicted."""
    recall: Array
    """Per class, NaN where there was none."""


class ValueScores(NamedTuple):
    """How good predicted values are."""

    rmse: float
    mae: float
    r2: float


def class_scores(y: Array, predicted: Array, probabilities: Array) -> ClassScores:
    """Compare class numbers, shape (rows,), with predicted ones and probabilities, shape (rows, classes).

    >>> y, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    >>> found = class_scores(y, (p > 0.5).astype(int), np.column_stack([1 - p, p]))
    >>> found.roc_auc, found.confusion.tolist(), found.recall.tolist()
    (0.75, [[2, 0], [1, 1]], [1.0, 0.5])
    """
    classes = probabilities.shape[1]
    confusion: Array | None = None
    if classes <= _MOST_CONFUSED:
        confusion = np.bincount(y * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    of_true = probabilities[np.arange(len(y)), y].astype(np.float64)
    total = probabilities.sum(axis=1, dtype=np.float64)  # 1 but for rounding
    log_loss = float(-np.log(np.clip(of_true / np.where(total > 0, total, 1), _SMALLEST, 1)).mean())
    chosen = [1] if classes == 2 else range(classes)
    areas = [roc_auc(y == k, probabilities[:, k]) for k in chosen]
    known = [area for area in areas if not np.isnan(area)]
    with np.errstate(invalid="ignore", divide="ignore"):
        right = np.bincount(y[y == predicted], minlength=classes).astype(np.float64)
        precision, recall = (right / np.bincount(each, minlength=classes) for each in (predicted, y))
    accuracy = float(right.sum() / len(y))
    return ClassScores(
        accuracy, log_loss, float(np.mean(known)) if known else float("nan"), confusion, precision, recall
    )


def roc_auc(is_positive: Array, score: Array) -> float:
    """Return the share of pairs of a positive and a negative row in which the positive one has the higher score.

    Ties count one half (Mann and Whitney's U). NaN where all rows are of one kind.
    """
    positives = int(is_positive.sum())
    negatives = len(score) - positives
    if not positives or not negatives:
        return float("nan")
    _, where, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    in_front = float(ranks[where[is_positive]].sum()) - positives * (positives + 1) / 2
    return in_front / (positives * negatives)


def value_scores(y: Array, predicted: Array) -> ValueScores:
    """Compare values, shape (rows, values), with predicted ones; R2 is the mean over the values of a row.

    >>> value_scores(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [4.0]])).r2
    0.5
    """
    errors = predicted - y
    r2 = r2_score(y, np.square(errors).sum(axis=0))
    return ValueScores(float(np.sqrt(np.square(errors).mean())), float(np.abs(errors).mean()), r2)


def r2_score(y: Array, squares: Array) -> float:
    """Return R2, the mean over the values of a row of 1 - squares / sum (y - mean)^2, from the errors' sums of squares.

    Values that do not vary at all cannot be r2_score: for them it is 1 where they are met exactly, else 0.
    """
    varies = y.max(axis=0) > y.min(axis=0)  # the sum about a rounded mean need not be 0
    spread = np.square(y - y.mean(axis=0, dtype=np.float64)).sum(axis=0)
    return float(np.where(varies, 1 - squares / np.where(varies, spread, 1), squares == 0).mean())
