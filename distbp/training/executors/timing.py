"""Measures the time of a step: the median over a short time."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress

import numpy as np

from distbp.config import Settings
from distbp.data.dataset import Array, Rows
from distbp.errors import DivergedError
from distbp.nn.structure import Structure
from distbp.parallel.step.executor import Executor, InProcessExecutor
from distbp.parallel.step.shards import Span
from distbp.parallel.step.worker import Worker
from distbp.system.blas import ShardThreads
from distbp.training.executors.choice import Speed

_MEASURED_SECONDS = 0.4
WARM_UP_STEPS = 2
"""Steps that are not measured: they touch every array for the first time, which is slow."""
_FEWEST_STEPS, _MOST_STEPS = 3, 400


def measure_in_process(
    structure: Structure, config: Settings, rows: Rows, state: Array, seconds: float = _MEASURED_SECONDS
) -> Speed:
    """Measure steps and shard gradients in this process, on a copy of the state."""
    alone = config.with_workers(0)
    step = median_step(InProcessExecutor(structure, alone, rows, state), seconds)
    shards = min(config.shards, config.batch_size, len(rows))
    worker = Worker(structure, alone, rows)
    weights, out = (structure.parameters(vector) for vector in (state[0], np.empty_like(state[0])))
    times = []
    with ShardThreads(config.threads):
        worker.compute(0, Span(0, 1), weights, [out])
        for _ in range(3):
            began = time.perf_counter()
            worker.compute(0, Span(0, 1), weights, [out])
            times.append(time.perf_counter() - began)
    return Speed(step, min(statistics.median(times), step / shards), shards)


def median_step(
    executor: Executor,
    at_least: float = _MEASURED_SECONDS,
    fewest: int = _FEWEST_STEPS,
    most: int = _MOST_STEPS,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the median seconds of a step, infinity if the run diverges at once; the executor's state moves on."""
    seconds = []
    deadline = clock() + at_least
    # A divergence does not fail the measurement: the run itself reports it when it reaches that step.
    with suppress(DivergedError), closing(executor.steps(executor.step + most)) as records:
        for record in records:
            seconds.append(record.seconds)
            if len(seconds) >= WARM_UP_STEPS + fewest and clock() > deadline:
                break
    return median_of(seconds)


def median_of(seconds: Sequence[float]) -> float:
    """Return the median without the warm-up steps, infinity if there are no steps."""
    return statistics.median(seconds[WARM_UP_STEPS:] or seconds or [math.inf])
