"""The linear model of values: least squares, with as much ridge as the rows call for."""

from __future__ import annotations

import numpy as np

from distbp.data.dataset import Array
from distbp.training.baseline.sample import Sample

_RIDGES = np.concatenate([[0.0], np.logspace(-7, 1, 17)])
"""Shares of the largest eigenvalue, from which each value's ridge is chosen; 0 is plain least squares."""
_LEAST_EIGENVALUE = 1e-12
"""Of the largest: what is below it is rounding, of columns that say the same."""
_LEAST_FREE = 0.05
"""Share of the rows that must be left as degrees of freedom: with fewer the choice says nothing."""


def least_squares(sample: Sample) -> tuple[Array, Array]:
    """Return coefficients, shape (inputs, outputs), and the constant, (outputs,), for scaled inputs.

    They minimise sum_r w_r (y_r - c - x_r . b)^2 + ridge |b|^2; the constant is not penalised. The ridge of each value
    is the one with the least generalized cross-validation, weighted squares / (rows - degrees of freedom)^2 (Golub,
    Heath and Wahba 1979). Among solutions that fit alike it is the shortest.

    Raises:
        LinAlgError: the numbers are too large.
    """
    y, weights = sample.y.astype(np.float64), sample.weights
    constant = weights @ y / sample.rows
    y -= constant
    values, vectors, projected = _principal(sample, y, weights)
    energy = np.square(projected)
    rest = np.maximum(weights @ np.square(y) - energy.sum(axis=0), 0.0)
    rows = sample.rows**2 / np.square(weights).sum()  # of equal weight that would tell as much
    ridges = _RIDGES * values.max(initial=0.0)
    scores = np.full((len(ridges), y.shape[1]), np.inf)
    for k, ridge in enumerate(ridges):
        left = ridge / (values + ridge)
        free = rows - 1 - (1 - left).sum()
        if free >= max(_LEAST_FREE * rows, 1.0):
            scores[k] = (rest + np.square(left) @ energy) / free**2
    best = ridges[np.where(np.isfinite(scores).any(axis=0), scores.argmin(axis=0), len(ridges) - 1)]
    shrunk = projected * np.sqrt(values)[:, None] / (values[:, None] + best)
    return vectors @ shrunk, constant


def _principal(sample: Sample, y: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Return eigenvalues and eigenvectors (inputs, kept) of X' W X, and y along the rows' own axes, (kept, outputs).

    With more inputs than rows they come from the smaller matrix sqrt(W) X X' sqrt(W).
    """
    if sample.inputs <= sample.rows:
        values, vectors = np.linalg.eigh(sample.gram())
        right, start = np.zeros((sample.inputs, y.shape[1])), 0
        for x, _, w in sample.blocks:
            right += sample.scale(x).T @ (w[:, None] * y[start : start + len(w)])
            start += len(w)
        kept = values > _LEAST_EIGENVALUE * values.max(initial=0.0)
        values, vectors = values[kept], vectors[:, kept]
        return values, vectors, vectors.T @ right / np.sqrt(values)[:, None]
    x = sample.rooted()
    values, axes = np.linalg.eigh(x @ x.T)
    kept = values > _LEAST_EIGENVALUE * values.max(initial=0.0)
    values, axes = values[kept], axes[:, kept]
    return values, x.T @ (axes / np.sqrt(values)), axes.T @ (np.sqrt(weights)[:, None] * y)
