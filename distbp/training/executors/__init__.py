"""Who computes a run's steps: the pool that was asked for, or the one that a short measurement finds to be quickest."""

from distbp.training.executors.choice import RAY_START_SECONDS, slower_choice
from distbp.training.executors.start import (
    initial_state,
    make_executor,
    most_useful_workers,
    read_while_ray_starts,
    started_executor,
)
from distbp.training.executors.timing import WARM_UP_STEPS, measure_here, median_of, median_step

__all__ = [
    "RAY_START_SECONDS", "WARM_UP_STEPS", "initial_state", "make_executor", "measure_here", "median_of", "median_step",
    "most_useful_workers", "read_while_ray_starts", "slower_choice", "started_executor",
]  # fmt: skip
