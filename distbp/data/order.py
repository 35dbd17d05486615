"""The order in which a run sees its examples: a new random one each epoch, known to everybody from the seed alone."""

from __future__ import annotations

from distbp.data.dataset import Array
from distbp.randomness import Purpose, generator


class Order:
    """Which rows make up the mini-batch of each step; steps are counted from 0 over the whole run.

    Every row comes exactly once per epoch. The last mini-batch of an epoch may be short.

    >>> order = Order(rows=5, batch_size=2, seed=0)
    >>> order.steps_per_epoch
    3
    >>> sorted(int(row) for step in range(3) for row in order.rows(step))
    [0, 1, 2, 3, 4]
    """

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        self._count = rows
        self._batch_size = min(batch_size, rows)
        self._seed = seed
        self._epoch = -1
        self._permutation: Array
        self.steps_per_epoch = -(-rows // self._batch_size)

    def size(self, step: int) -> int:
        """Return the number of rows in the mini-batch of this step."""
        first = step % self.steps_per_epoch * self._batch_size
        return min(self._batch_size, self._count - first)

    def rows(self, step: int) -> Array:
        """Return the row numbers of this step's mini-batch, in their places."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._permutation = generator(self._seed, Purpose.ORDER_OF_EXAMPLES, epoch).permutation(self._count)
            self._epoch = epoch
        return self._permutation[place * self._batch_size : (place + 1) * self._batch_size]
