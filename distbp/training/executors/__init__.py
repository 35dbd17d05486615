"""Starts the executor of a run; with ``--workers auto``, measures whether this process or workers are faster."""

from distbp.training.executors.advice import WorkersAdvice
from distbp.training.executors.choice import RAY_START_SECONDS
from distbp.training.executors.start import initial_state, make_executor, read_while_starting_ray, start_executor
from distbp.training.executors.timing import WARM_UP_STEPS, measure_in_process, median_of, median_step

__all__ = [
    "RAY_START_SECONDS",
    "WARM_UP_STEPS",
    "WorkersAdvice",
    "initial_state",
    "make_executor",
    "measure_in_process",
    "median_of",
    "median_step",
    "read_while_starting_ray",
    "start_executor",
]
