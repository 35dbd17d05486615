"""Random numbers that depend only on their purpose and position, never on the process or the time of the draw.

Every draw comes from a counter-based generator (Philox 4x64; Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", 2011). The seed and the purpose are its key, the position is its counter. So any worker can generate any part
of a run's randomness by itself, and a run that resumes in the middle of an epoch draws the same numbers.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What random numbers are for. The values are part of the results: never reuse or renumber one."""

    INITIAL_WEIGHTS = 1
    ORDER_OF_EXAMPLES = 2
    TEST_SPLIT = 3
    DROPOUT = 4
    VALIDATION_SPLIT = 5


def generator(seed: int, purpose: Purpose, *position: int) -> np.random.Generator:
    """Return the generator for a purpose at a position of up to three non-negative numbers.

    >>> one, two = (generator(0, Purpose.ORDER_OF_EXAMPLES, 5) for _ in range(2))
    >>> bool(one.integers(100) == two.integers(100))
    True
    """
    counter = np.array(
        [0, *position, *([0] * (3 - len(position)))], dtype=np.uint64
    )  # the lowest word counts the draws
    key = np.array([seed, int(purpose)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
