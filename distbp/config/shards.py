"""The default number of shards of a mini-batch."""

_ROWS_PER_SHARD = 64
_MOST_SHARDS = 4


def default_shards(batch_size: int) -> int:
    """Return the largest power of two up to 4 that leaves 64 rows per shard.

    It depends on the mini-batch alone: shards decide the order of additions, so they must not depend on the workers.

    >>> [default_shards(rows) for rows in (1, 64, 127, 128, 256, 100_000)]
    [1, 1, 1, 2, 4, 4]
    """
    shards = 1
    while shards < _MOST_SHARDS and batch_size >= 2 * shards * _ROWS_PER_SHARD:
        shards *= 2
    return shards
