"""Metrics of predictions: accuracy, log-loss, ROC AUC, confusion matrix, RMSE, MAE, R2."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from distbp.nn.structure import Array

_SMALLEST = 1e-15
"""Lower bound of the probabilities in the log-loss."""

_MOST_CONFUSED = 2000
"""Largest number of classes for which a confusion matrix is built."""


class Evaluation(NamedTuple):
    """A network's results on labelled rows. Metrics that do not apply are None."""

    rows: int
    cost: float
    """Mean cost of the examples, weighted by the rows' weights."""
    accuracy: float | None
    """Share of correctly classified rows."""
    rmse: float | None
    """Root mean squared error over rows and target columns, in the targets' unit."""
    r2: float | None
    """Share of the variance that is explained, averaged over the target columns."""


class Predictions(NamedTuple):
    """A network's outputs for some rows, and the classes chosen from them."""

    outputs: Array
    """a^L of each row, shape (rows, m_L)."""
    chosen: Array
    """The predicted class number of each row; empty for regression."""
    are_probabilities: bool
    """Whether the outputs already are probabilities: a softmax, or independent labels."""

    @property
    def probabilities(self) -> Array:
        """Class probabilities, shape (rows, classes), never negative; each row sums to 1.

        Other outputs are converted: negative ones become 0, then each row is divided by its sum. A row without positive
        outputs gets equal probabilities. A single node, clipped to 0..1, is the second class's probability.
        """
        a = self.outputs
        if a.shape[1] == 1:
            second = np.clip(a, 0, 1)
            return np.hstack([1 - second, second])
        if self.are_probabilities:
            return a
        positive = np.maximum(a, 0)
        with np.errstate(invalid="ignore"):  # infinite outputs would warn of inf / inf
            total = positive.sum(axis=1, keepdims=True, dtype=np.float64)  # large float32 outputs would overflow
            scaled: Array = np.where(total > 0, positive / np.where(total > 0, total, 1), 1 / a.shape[1])
        return scaled.astype(a.dtype, copy=False)


class ClassScores(NamedTuple):
    """Metrics of predicted classes and their probabilities."""

    accuracy: float
    log_loss: float
    roc_auc: float
    """AUC of the second of two classes, else the mean of the classes' one-vs-rest AUCs; NaN with one class."""
    confusion: Array | None
    """Counts by true class (rows) and predicted class (columns); None above 2,000 classes."""
    precision: Array
    """Precision of each class; NaN for classes that are never predicted."""
    recall: Array
    """Recall of each class; NaN for classes without rows."""


class ValueScores(NamedTuple):
    """Metrics of predicted values."""

    rmse: float
    mae: float
    r2: float


def class_scores(y: Array, predicted: Array, probabilities: Array) -> ClassScores:
    """Score predicted classes, shape (rows,), and probabilities, shape (rows, classes), against the true classes y.

    >>> y, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    >>> scores = class_scores(y, (p > 0.5).astype(int), np.column_stack([1 - p, p]))
    >>> scores.roc_auc, scores.confusion.tolist(), scores.recall.tolist()
    (0.75, [[2, 0], [1, 1]], [1.0, 0.5])
    """
    classes = probabilities.shape[1]
    confusion: Array | None = None
    if classes <= _MOST_CONFUSED:
        confusion = np.bincount(y * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    of_true = probabilities[np.arange(len(y)), y].astype(np.float64)
    total = probabilities.sum(axis=1, dtype=np.float64)  # each row's sum is 1 except for rounding
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
    """Return the share of positive-negative pairs in which the positive row has the higher score.

    Ties count one half (Mann and Whitney's U). NaN if all rows are positive or all negative.
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
    """Score predicted values against y, both of shape (rows, columns); R2 is averaged over the columns.

    >>> value_scores(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [4.0]])).r2
    0.5
    """
    errors = predicted - y
    r2 = r2_score(y, np.square(errors).sum(axis=0))
    return ValueScores(float(np.sqrt(np.square(errors).mean())), float(np.abs(errors).mean()), r2)


def r2_score(y: Array, squares: Array) -> float:
    """Return the mean over columns of 1 - squares / sum (y - mean)^2; ``squares`` are the columns' squared errors.

    A constant column has no variance to explain: it scores 1 if predicted exactly, else 0.
    """
    varies = y.max(axis=0) > y.min(axis=0)  # the mean is rounded, so the deviations from it may not sum to 0
    spread = np.square(y - y.mean(axis=0, dtype=np.float64)).sum(axis=0)
    return float(np.where(varies, 1 - squares / np.where(varies, spread, 1), squares == 0).mean())
