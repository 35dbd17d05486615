"""Mean, standard deviation, extremes and quantiles of columns, in one pass over chunks of rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from distbp.data.dataset import Array

_MOST_SAMPLED = 1 << 22
"""Numbers that are sampled for the quantiles, over all columns."""
_MOST_ROWS_SAMPLED = 1 << 16


class Moments:
    """Moments of several columns. The same chunks give the same bits.

    Means and sums of squares are merged as by Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm for
    computing sample variances", 1979). Quantiles are exact up to 65,536 rows (fewer with more than 64 columns); beyond
    that they come from a sample of rows at even distances.

    >>> moments = Moments(1)
    >>> moments.add(np.array([[1.0, 2.0, np.nan, 6.0]]))
    >>> float(moments.mean[0]), float(moments.deviations()[0].round(3)), moments.quantiles(2).tolist()
    (3.0, 2.16, [[1.0, 2.0, 6.0]])
    """

    def __init__(self, columns: int) -> None:
        self.count = np.zeros(columns)
        self.mean = np.zeros(columns)
        self.squares = np.zeros(columns)
        self.low = np.full(columns, np.inf)
        self.high = np.full(columns, -np.inf)
        self.rows = 0
        self._stride = 1
        self._most = max(1, min(_MOST_ROWS_SAMPLED, _MOST_SAMPLED // max(columns, 1)))
        self._samples: list[Array] = []

    def add(self, values: Array) -> None:
        """Add a chunk, shape (columns, rows), NaN where a value is missing."""
        if not values.size:
            return
        for k, column in enumerate(values):  # column by column: a column without missing values needs no mask
            total = column.sum()
            if not np.isfinite(total):
                column = column[~np.isnan(column)]
                total = column.sum()
            if len(column):
                self._merge(k, column, float(total))
        first = -self.rows % self._stride
        self._samples.append(values[:, first :: self._stride].copy())
        self.rows += values.shape[1]
        while sum(part.shape[1] for part in self._samples) > self._most:
            self._samples = [np.concatenate(self._samples, axis=1)[:, ::2].copy()]
            self._stride *= 2

    def _merge(self, k: int, column: Array, total: float) -> None:
        count = len(column)
        mean = total / count
        centred = column - mean
        squares = float(np.dot(centred, centred))
        together = self.count[k] + count
        shift = mean - self.mean[k]
        self.squares[k] += squares + shift * shift * self.count[k] * count / together
        self.mean[k] += shift * count / together
        self.count[k] = together
        self.low[k] = min(self.low[k], column.min())
        self.high[k] = max(self.high[k], column.max())

    def deviations(self) -> Array:
        """Return the standard deviation of each column, 1 where it does not vary."""
        deviation: Array = np.sqrt(self.squares / np.maximum(self.count, 1))
        return np.where(self.varies & (deviation > 0), deviation, 1.0)

    @property
    def varies(self) -> Array:
        """Which columns hold more than one distinct number."""
        varies: Array = self.high > self.low
        return varies

    def quantiles(self, parts: int) -> Array:
        """Return the quantiles that divide each column into equal parts, with the extremes; shape (columns, parts + 1).

        They are 0 for a column without numbers.
        """
        result = np.zeros((len(self.count), parts + 1))
        sample = np.concatenate(self._samples, axis=1) if self._samples else np.zeros((len(self.count), 0))
        for k, column in enumerate(sample):
            present = column[~np.isnan(column)]
            if len(present):
                result[k] = np.quantile(present, np.linspace(0, 1, parts + 1))
        return result

    def state(self) -> dict[str, Array]:
        """Return everything that :meth:`from_state` needs, as arrays by name."""
        sample = np.concatenate(self._samples, axis=1) if self._samples else np.zeros((len(self.count), 0))
        numbers = np.array([self.rows, self._stride])
        return {
            "count": self.count,
            "mean": self.mean,
            "squares": self.squares,
            "low": self.low,
            "high": self.high,
            "sample": sample,
            "numbers": numbers,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> Moments:
        """Return the moments that :meth:`state` described."""
        moments = cls(len(state["count"]))
        for name in ("count", "mean", "squares", "low", "high"):
            setattr(moments, name, state[name].copy())
        moments.rows, moments._stride = (int(number) for number in state["numbers"])
        moments._samples = [state["sample"]]
        return moments


def knots_of(quantiles: Array) -> tuple[float, ...]:
    """Return the distinct quantiles of a number, the boundaries of its pieces; none if they bound a single piece."""
    knots = np.unique(quantiles)
    far = knots[1:] - knots[:-1] > 1e-6 * (knots[-1] - knots[0])  # closer knots are rounding errors of one number
    chosen = tuple(np.concatenate([knots[:1], knots[1:][far]]).tolist())
    return chosen if len(chosen) > 2 else ()
