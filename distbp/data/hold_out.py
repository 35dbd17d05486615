"""Which rows are held out of training, for the test or for validation."""

from __future__ import annotations

import numpy as np

from distbp.data.dataset import Array
from distbp.data.targets import labels_of
from distbp.errors import DataError
from distbp.randomness import Purpose, generator


def held_out(
    y: Array, fraction: float, seed: int, by_class: bool, purpose: Purpose = Purpose.TEST_SPLIT, chunk: int = 0
) -> Array:
    """Return which rows are held out, as booleans; with ``by_class`` the same share of every class.

    ``chunk`` is the number of the chunk that these rows are, if rows are held out chunk by chunk.

    >>> mask = held_out(np.array([0] * 8 + [1] * 4), 0.25, seed=0, by_class=True)
    >>> int(mask[:8].sum()), int(mask[8:].sum())
    (2, 1)
    """
    candidates = generator(seed, purpose, chunk).permutation(len(y))
    if by_class:
        # Sorted by class, with the shuffled order kept within each; the first of each class must stay for training.
        # Rows at even distances then give every class its share to within one row.
        labels = labels_of(y, "y")[candidates]
        order = np.argsort(labels, kind="stable")
        is_first = np.diff(np.searchsorted(np.unique(labels), labels[order]), prepend=-1) > 0
        candidates = candidates[order][~is_first]
    wanted = round(len(y) * fraction)
    if chunk and (wanted > len(candidates) or not wanted):  # the last chunk may be short
        return np.zeros(len(y), dtype=bool)
    if not 0 < wanted < len(y) or wanted > len(candidates):
        beside = " beside a row of each class" if by_class else ""
        rows = "1 row is" if len(y) == 1 else f"{len(y)} rows are"
        raise DataError(f"{rows} too few to hold out a fraction of {fraction}{beside}")
    chosen = ((np.arange(wanted) + 0.5) * len(candidates) / wanted).astype(np.int64)
    mask = np.zeros(len(y), dtype=bool)
    mask[candidates[chosen]] = True
    return mask
