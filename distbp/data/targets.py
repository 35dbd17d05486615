"""What targets mean: classes or values, which classes there are, and which rows are held out for the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distbp.data.checks import target_values as values
from distbp.data.checks import text
from distbp.data.dataset import Array
from distbp.errors import DataError
from distbp.randomness import Purpose, generator

__all__ = ["class_numbers", "classes_of", "guess_task", "held_out", "values"]

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
        raise DataError(f"{name} holds {flat.dtype}, the classes are {few(classes)}")
    order = np.argsort(known)
    places = np.searchsorted(known[order], flat).clip(max=len(known) - 1)
    found = order[places]
    strange = known[found] != flat
    if strange.any():
        row = int(strange.argmax())
        raise DataError(
            f"{name} row {first + row} is {flat[row].item()!r}, which is none of the classes {few(classes)}"
        )
    numbers: Array = found.astype(np.int64)
    return numbers


def few(classes: Sequence[Any]) -> str:
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


def held_out(
    y: Array, fraction: float, seed: int, by_class: bool, purpose: Purpose = Purpose.TEST_SPLIT, place: int = 0
) -> Array:
    """Return which rows are held out, as booleans; with ``by_class`` the same share of every class.

    ``place`` is the number of a part of the rows that is cut by itself.

    >>> mask = held_out(np.array([0] * 8 + [1] * 4), 0.25, seed=0, by_class=True)
    >>> int(mask[:8].sum()), int(mask[8:].sum())
    (2, 1)
    """
    candidates = generator(seed, purpose, place).permutation(len(y))
    if by_class:
        # Sorted by class, with the shuffled order kept within each; the first of each class must stay for training.
        # Rows at even distances then give every class its share to within one row.
        labels = _labels(y, "y")[candidates]
        order = np.argsort(labels, kind="stable")
        is_first = np.diff(np.searchsorted(np.unique(labels), labels[order]), prepend=-1) > 0
        candidates = candidates[order][~is_first]
    wanted = round(len(y) * fraction)
    if place and (wanted > len(candidates) or not wanted):  # the last part may be short
        return np.zeros(len(y), dtype=bool)
    if not 0 < wanted < len(y) or wanted > len(candidates):
        beside = " beside a row of each class" if by_class else ""
        rows = "1 row is" if len(y) == 1 else f"{len(y)} rows are"
        raise DataError(f"{rows} too few to hold out a fraction of {fraction}{beside}")
    places = ((np.arange(wanted) + 0.5) * len(candidates) / wanted).astype(np.int64)
    mask = np.zeros(len(y), dtype=bool)
    mask[candidates[places]] = True
    return mask
