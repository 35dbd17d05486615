"""Linear model for regression: ridge regression, whose ridge is chosen by generalized cross-validation."""

from __future__ import annotations

import numpy as np

from distbp.data.dataset import Array
from distbp.training.baseline.sample import Sample

_RIDGES = np.concatenate([[0.0], np.logspace(-7, 1, 17)])
"""Candidates for the ridge of an output, as shares of the largest eigenvalue; 0 is plain least squares."""
_LEAST_EIGENVALUE = 1e-12
"""Share of the largest eigenvalue below which one is rounding error, as linearly dependent columns cause it."""
_LEAST_FREE = 0.05
"""Least share of the rows left as degrees of freedom: with fewer, cross-validation cannot choose a ridge."""


def least_squares(sample: Sample) -> tuple[Array, Array]:
    """Return coefficients of the scaled inputs, shape (inputs, outputs), and the constants, shape (outputs,).

    They minimise sum_r w_r (y_r - c - x_r . b)^2 + ridge |b|^2; the constant is not penalised. Each output has the
    ridge with the least generalized cross-validation error, weighted squares / (rows - degrees of freedom)^2 (Golub,
    Heath and Wahba 1979). Among equally good solutions the shortest is returned.

    Raises:
        LinAlgError: numbers overflow.
    """
    y, weights = sample.y.astype(np.float64), sample.weights
    constant = weights @ y / sample.rows
    y -= constant
    values, vectors, projected = _principal(sample, y, weights)
    energy = np.square(projected)
    rest = np.maximum(weights @ np.square(y) - energy.sum(axis=0), 0.0)
    rows = (
        sample.rows**2 / np.square(weights).sum()
    )  # effective sample size: rows of equal weight with the same information
    ridges = _RIDGES * values.max(initial=0.0)
    scores = np.full((len(ridges), y.shape[1]), np.inf)
    for k, ridge in enumerate(ridges):
        shrinkage = ridge / (values + ridge)
        free = rows - 1 - (1 - shrinkage).sum()
        if free >= max(_LEAST_FREE * rows, 1.0):
            scores[k] = (rest + np.square(shrinkage) @ energy) / free**2
    best = ridges[np.where(np.isfinite(scores).any(axis=0), scores.argmin(axis=0), len(ridges) - 1)]
    shrunk = projected * np.sqrt(values)[:, None] / (values[:, None] + best)
    return vectors @ shrunk, constant


def _principal(sample: Sample, y: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Return eigenvalues and eigenvectors (inputs, kept) of X' W X, and y in the left singular basis, (kept, outputs).

    With more inputs than rows they are computed from the smaller matrix sqrt(W) X X' sqrt(W).
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
    x = sample.weighted_inputs()
    values, axes = np.linalg.eigh(x @ x.T)
    kept = values > _LEAST_EIGENVALUE * values.max(initial=0.0)
    values, axes = values[kept], axes[:, kept]
    return values, x.T @ (axes / np.sqrt(values)), axes.T @ (np.sqrt(weights)[:, None] * y)
