"""The targets of arrays: the task that they imply, and their classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distbp.data.checks import text
from distbp.data.dataset import Array
from distbp.errors import DataError

_MOST_CLASSES_GUESSED = 20


def guess_task(y: Array) -> str:
    """Guess the task: text, booleans and at most 20 different integers are classes; anything else is values.

    >>> guess_task(np.array(["yes", "no"])), guess_task(np.array([0.5, 1.5])), guess_task(np.arange(21))
    ('classification', 'regression', 'regression')
    """
    if y.ndim > 1 and y.shape[1:] != (1,):
        return "regression"
    if y.dtype.kind in "USb" or (y.dtype.kind in "iu" and len(np.unique(y)) <= _MOST_CLASSES_GUESSED):
        return "classification"
    return "regression"


def classes_of(y: Array) -> tuple[Any, ...]:
    """Return the distinct targets of the training rows, sorted, as Python's own types."""
    labels = labels_of(y, "y_train")
    classes = tuple(np.unique(labels).tolist())
    if len(classes) < 2:
        raise DataError(f"all training rows are of class {classes[0]!r}: at least two classes are needed")
    return classes


def class_numbers(y: Array, classes: Sequence[Any], name: str, first: int = 0) -> Array:
    """Return the class number 0..K-1 of each target; ``first`` is the number of the first row, for messages.

    Raises:
        DataError: a target is none of the classes (with its row).
    """
    labels = labels_of(y, name)
    known = np.asarray(classes)
    if (known.dtype.kind in "US") != (labels.dtype.kind in "US"):
        raise DataError(f"{name} holds {labels.dtype}, the classes are {shown_classes(classes)}")
    order = np.argsort(known)
    positions = np.searchsorted(known[order], labels).clip(max=len(known) - 1)
    candidates = order[positions]
    unknown = known[candidates] != labels
    if unknown.any():
        row = int(unknown.argmax())
        raise DataError(
            f"{name} row {first + row} is {labels[row].item()!r}, which is none of the classes {shown_classes(classes)}"
        )
    numbers: Array = candidates.astype(np.int64)
    return numbers


def shown_classes(classes: Sequence[Any]) -> str:
    """Return the first classes as a message shows them."""
    shown = ", ".join(repr(name) for name in classes[:10])
    return shown + (", .." if len(classes) > 10 else "")


def labels_of(y: Array, name: str) -> Array:
    """Return class labels as a flat array; floats that are whole numbers become integers.

    Raises:
        DataError: there are several labels per row, or one is not finite.
    """
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
