"""What targets mean: classes or values, which classes there are, and which rows are held out for the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distbp.data.checks import text
from distbp.data.dataset import Array
from distbp.errors import DataError

_MOST_CLASSES_GUESSED = 20


def guess_task(y: Array) -> str:
    """Guess the task: text, booleans or at most 20 different integers are classes, all else is values.

    >>> guess_task(np.array(["yes", "no"])), guess_task(np.array([0.5, 1.5])), guess_task(np.arange(21))
    ('classification', 'regression', 'regression')
    """
    if y.ndim > 1 and y.shape[1:] != (1,):
        return "regression"
    if y.dtype.kind in "USb" or (y.dtype.kind in "iu" and len(np.unique(y)) <= _MOST_CLASSES_GUESSED):
        return "classification"
    return "regression"


def classes_of(y: Array) -> tuple[Any, ...]:
    """Return the different targets of the training rows, sorted, as Python's own types."""
    flat = _labels(y, "y_train")
    classes = tuple(np.unique(flat).tolist())
    if len(classes) < 2:
        raise DataError(f"all training rows are of class {classes[0]!r}: at least two classes are needed")
    return classes


def class_numbers(y: Array, classes: Sequence[Any], name: str, first: int = 0) -> Array:
    """Return the number 0..K-1 of each target's class; ``first`` is the number of the first row.

    Raises:
        DataError: a target is none of the classes (with its row).
    """
    flat = _labels(y, name)
    known = np.asarray(classes)
    if (known.dtype.kind in "US") != (flat.dtype.kind in "US"):
        raise DataError(f"{name} holds {flat.dtype}, the classes are {shown_classes(classes)}")
    order = np.argsort(known)
    places = np.searchsorted(known[order], flat).clip(max=len(known) - 1)
    found = order[places]
    strange = known[found] != flat
    if strange.any():
        row = int(strange.argmax())
        raise DataError(
            f"{name} row {first + row} is {flat[row].item()!r}, which is none of the classes {shown_classes(classes)}"
        )
    numbers: Array = found.astype(np.int64)
    return numbers


def shown_classes(classes: Sequence[Any]) -> str:
    """Return the first of the classes, to be shown."""
    shown = ", ".join(repr(name) for name in classes[:10])
    return shown + (", .." if len(classes) > 10 else "")


def _labels(y: Array, name: str) -> Array:
    flat = y.reshape(len(y), -1)
    if flat.shape[1] != 1:
        raise DataError(f"{name} has {flat.shape[1]} columns: classes need one label per row")
    labels: Array = flat[:, 0]
    if labels.dtype.kind in "US":
        labels = text(labels, name)
    if labels.dtype.kind == "f":
        bad = ~np.isfinite(labels)
        if bad.any():
            raise DataError(f"{name} row {int(bad.argmax())} is {labels[bad.argmax()]}: expected a class")
        if (labels == np.floor(labels)).all() and np.abs(labels).max() < 2**53:
            labels = labels.astype(np.int64)  # 3.0 and 3 are the same class
    elif labels.dtype.kind not in "USbiu":
        raise DataError(f"{name} holds {labels.dtype}: classes are text, booleans or whole numbers")
    return labels
