"""Who computes a run's steps: the pool that was asked for, or the one that a short measurement finds to be quickest."""

from distbp.pools.choice import RAY_START_SECONDS, slower_choice
from distbp.pools.measuring import WARM_UP_STEPS, measure_here, median_of, median_step
from distbp.pools.starting import (
    initial_state,
    make_pool,
    most_useful_workers,
    read_while_ray_starts,
    started_pool,
)

__all__ = [
    "RAY_START_SECONDS", "WARM_UP_STEPS", "initial_state", "make_pool", "measure_here", "median_of", "median_step",
    "most_useful_workers", "read_while_ray_starts", "slower_choice", "started_pool",
]  # fmt: skip
