"""The order of the examples in each epoch, which every process derives from the seed alone."""

from __future__ import annotations

from typing import Self

import numpy as np

from distbp.config import Settings
from distbp.data.dataset import Array
from distbp.randomness import Purpose, generator

_MOST_AT_ONCE = 1 << 20
"""Up to this many rows, a single permutation shuffles the whole epoch."""
_RUN = 1 << 10
"""Rows that move into a window together, so that the disk reads them at once."""
_WINDOW = 1 << 18
"""Rows per window, if there are more rows than :data:`_MOST_AT_ONCE`."""


class EpochOrder:
    """The rows of each step's mini-batch; steps are counted from 0 over the whole run.

    Every row occurs exactly once per epoch. The last mini-batch of an epoch may be short.

    Up to a million rows, the order of an epoch is one permutation. More rows are shuffled on two levels, which bounds
    memory and makes reads from a disk large: runs of 1,024 consecutive rows are permuted over the whole epoch, 256 of
    them form a window, and the rows of a window are permuted one by one. Thus 2,000 mini-batches of 128 rows need 256
    reads of 1,024 rows each, and a window stays in the page cache until it is used up.

    >>> order = EpochOrder(rows=5, batch_size=2, seed=0)
    >>> order.steps_per_epoch
    3
    >>> sorted(int(row) for step in range(3) for row in order.rows(step))
    [0, 1, 2, 3, 4]
    """

    def __init__(self, rows: int, batch_size: int, seed: int, shuffle: bool = True) -> None:
        self._count = rows
        self._batch_size = min(batch_size, rows)
        self._seed, self._shuffle = seed, shuffle
        self._epoch = -1
        self._permutation: Array
        self._starts: Array
        """Start of each window in the epoch's order, and the end of the last one."""
        self._windows: dict[int, Array] = {}
        self.steps_per_epoch = -(-rows // self._batch_size)

    @classmethod
    def of(cls, config: Settings, rows: int) -> Self:
        """Return the order of this many rows with these settings."""
        return cls(rows, config.batch_size, config.seed, config.shuffle)

    def size(self, step: int) -> int:
        """Return the number of rows in the mini-batch of this step."""
        first = step % self.steps_per_epoch * self._batch_size
        return min(self._batch_size, self._count - first)

    def rows(self, step: int) -> Array:
        """Return the row numbers of this step's mini-batch, in order."""
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
        first, stop = step_of_epoch * self._batch_size, min((step_of_epoch + 1) * self._batch_size, self._count)
        if not self._shuffle:
            return np.arange(first, stop)
        if epoch != self._epoch:
            self._begin(epoch)
        return self._permutation[first:stop] if self._count <= _MOST_AT_ONCE else self._from_windows(first, stop)

    def _begin(self, epoch: int) -> None:
        self._epoch = epoch
        random = generator(self._seed, Purpose.ORDER_OF_EXAMPLES, epoch)
        if self._count <= _MOST_AT_ONCE:
            self._permutation = random.permutation(self._count)
            return
        runs = -(-self._count // _RUN)
        self._permutation = random.permutation(runs)
        sizes = np.full(runs, _RUN)
        sizes[self._permutation == runs - 1] = self._count - (runs - 1) * _RUN
        self._starts = np.append(np.concatenate([[0], np.cumsum(sizes)])[: -1 : _WINDOW // _RUN], self._count)
        self._windows.clear()

    def _from_windows(self, first: int, stop: int) -> Array:
        """Return the rows at these positions of the epoch's order, which may span several windows."""
        begin, end = np.searchsorted(self._starts, [first, stop - 1], side="right") - 1
        parts = []
        for number in range(begin, end + 1):
            start = self._starts[number]
            parts.append(self._window(number)[max(first - start, 0) : stop - start])
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _window(self, number: int) -> Array:
        if number not in self._windows:
            self._windows = {key: rows for key, rows in self._windows.items() if key == number - 1}
            runs = self._permutation[number * (_WINDOW // _RUN) : (number + 1) * (_WINDOW // _RUN)]
            rows = (runs[:, None] * _RUN + np.arange(_RUN)).reshape(-1)
            random = generator(self._seed, Purpose.ORDER_OF_EXAMPLES, self._epoch, 1 + number)
            self._windows[number] = random.permutation(rows[rows < self._count])
        return self._windows[number]
