"""Who computes a run's steps: the pool that was asked for, or the one that a short measurement finds to be quickest."""

from __future__ import annotations

import math
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace

import numpy as np

from distbp.blas import ShardThreads
from distbp.config import Config
from distbp.data.dataset import Array, DataSet, Rows
from distbp.errors import ClusterError, DivergedError, PeerLostError
from distbp.network import Network
from distbp.nn.initial import initial_weights
from distbp.nn.structure import Structure
from distbp.optim import optimizer_of
from distbp.parallel.arithmetic import cpu_count
from distbp.parallel.exchange import MORE_MEMORY, Shape
from distbp.parallel.folders import memory_folder
from distbp.parallel.pool import InProcess, Path, Pool
from distbp.parallel.shards import Span, buffers_for, cut
from distbp.parallel.worker import Worker

Note = Callable[[str], None]

_MEASURED_SECONDS = 0.4
_MOMENT_SECONDS = 0.3
_CLEARLY = 1.1
"""How many times slower a choice must be to be worth a word."""
WARM_UP_STEPS = 2
"""Steps that touch every array for the first time, which takes longer than it ever will again."""
_FEWEST_STEPS, _MOST_STEPS = 3, 400
_EXCHANGE_SECONDS = 100e-6
"""What a round costs beside its arithmetic: two wake-ups on one host."""
RAY_START_SECONDS = 6.0
"""What starting a private Ray and its actors takes; a run that saves less is quicker without."""


def initial_state(structure: Structure, config: Config, network: Network | None = None) -> Array:
    """Return weights and optimizer state before the first step, shape (1 + slots, parameters)."""
    assert config.initial is not None
    slots = optimizer_of(config).slots
    state = np.zeros((1 + len(slots), structure.parameter_count), config.dtype)
    if network is not None:
        state[0] = network.weights
    else:
        state[0] = initial_weights(structure, config.initial, config.seed, config.dtype)
    return state


def make_pool(structure: Structure, config: Config, rows: Rows, state: Array, note: Note, step: int = 0) -> Pool:
    """Return the pool of ``config.workers``, not yet started, with the state after ``step`` steps."""
    if config.workers == 0:
        return InProcess(structure, config, rows, state, step)
    # Imported here so that a run in this process never loads Ray.
    from distbp.actors import ActorPool

    return ActorPool(structure, config, rows, state, note, step)


def read_while_ray_starts(stack: ExitStack, config: Config, read: Callable[[], DataSet], note: Note) -> DataSet:
    """Read the data; if that takes longer than a moment and Ray will be needed, start it meanwhile, on ``stack``.

    The moment is there so that a mistake in small data is told at once, not after Ray's seconds.
    """
    if config.workers in ("auto", 0):
        return read()
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read)
        if not wait([reading], timeout=_MOMENT_SECONDS).done:
            from distbp.actors import session_for

            stack.enter_context(session_for(config, note))
        return reading.result()


@contextmanager
def started_pool(
    structure: Structure, config: Config, rows: Rows, state: Array, note: Note, steps: int, step: int
) -> Iterator[Pool]:
    """Start the pool for ``steps`` steps after ``step``; with ``auto`` the one that promises to be done first."""
    with ExitStack() as stack:
        if config.workers != "auto" or config.address is not None:
            if config.workers != "auto" and config.workers != 0 and config.address is None:
                workers = max(config.least_workers, min(config.worker_count, cpu_count()))
                missing = too_little_memory(config, state, structure.depth, workers, spare=False)
                if missing is not None:
                    raise ClusterError(f"{missing}: {MORE_MEMORY}")
            pool = stack.enter_context(make_pool(structure, config, rows, state, note, step))
        else:
            pool = _quickest_pool(stack, structure, config, rows, state, note, steps, step)
        del rows  # this frame lives as long as the run; the pool has the rows where they are needed
        yield pool


def _quickest_pool(
    stack: ExitStack, structure: Structure, config: Config, rows: Rows, state: Array, note: Note, steps: int, step: int
) -> Pool:
    """Measure this process first, and start Ray only if workers could win by more than its start takes."""

    def start(workers: int) -> Pool:
        return stack.enter_context(make_pool(structure, replace(config, workers=workers), rows, state, note, step))

    here = measure_here(structure, config, rows, state)
    mini_batch = min(config.batch_size, len(rows))
    speeds = [f"this process {mini_batch / here.step:,.0f} samples/s"]
    workers = most_useful_workers(config)
    hoped = here.with_workers(workers)
    saved = steps * (here.step - hoped)
    if workers > 1 and saved > RAY_START_SECONDS:
        missing = too_little_memory(config, state, structure.depth, workers, spare=True)
        if missing is not None:
            note(f"workers: {', '.join(speeds)}, {missing}: this process")
            return start(0)
        try:
            pool = start(workers)
        except (ClusterError, PeerLostError) as error:
            note(f"workers: {', '.join(speeds)}, {workers} workers cannot be used ({error}): this process")
            return start(0)
        there = median_step(pool)
        speeds.append(f"{workers} workers {mini_batch / there:,.0f}")
        if there < here.step:
            pool.restart(state, step)
            note(f"workers: {', '.join(speeds)}: {workers} workers")
            return pool
        stack.close()
    elif workers > 1:
        why = f"would save {saved:.1f} s, Ray takes {RAY_START_SECONDS:.0f} s to start" if saved > 0 else "no gain"
        speeds.append(f"{workers} workers at most {mini_batch / hoped:,.0f} ({why})")
    note(f"workers: {', '.join(speeds)}: this process")
    return start(0)


def too_little_memory(config: Config, state: Array, layers: int, workers: int, spare: bool) -> str | None:
    """Return how much of the memory is missing that workers of this host share, None if there is enough.

    ``spare`` counts also what is needed once a straggler's shards are computed again.
    """
    assert config.shards is not None
    sums = buffers_for(config.shards, workers)
    shape = Shape(state.shape[0], state.shape[1], state.dtype.name, workers, sums, config.shards, layers)
    needed, free = shape.memory(spare), shutil.disk_usage(memory_folder()).free
    if needed <= free:
        return None
    return (
        f"{workers} workers need {needed / 2**20:,.0f} MB of shared memory, {memory_folder()} has "
        f"{free / 2**20:,.0f} free"
    )


def most_useful_workers(config: Config) -> int:
    """Return the number of workers that could be quickest: one per core and shard, and none that finds no room."""
    # Imported here, as above; within a placement group Ray is there already.
    from distbp.actors import free_cpus

    assert config.shards is not None
    room = free_cpus()
    return max(1, min(cpu_count() if room is None else room, config.shards))


class Speed:
    """How long a step takes in this process, and what would be left of it with workers."""

    def __init__(self, step: float, shard: float, shards: int) -> None:
        self.step = step
        self._shard = shard
        self._shards = shards

    def with_workers(self, workers: int) -> float:
        """Return the least seconds per step that so many workers could take."""
        most = cut(self._shards, workers)[0].stop
        update = max(0.0, self.step - self._shards * self._shard)
        return most * self._shard + update + _EXCHANGE_SECONDS


def measure_here(
    structure: Structure, config: Config, rows: Rows, state: Array, seconds: float = _MEASURED_SECONDS
) -> Speed:
    """Measure steps in this process, on a copy of the state."""
    assert config.shards is not None
    alone = replace(config, workers=0)
    step = median_step(InProcess(structure, alone, rows, state), seconds)
    shards = min(config.shards, config.batch_size, len(rows))
    worker = Worker(structure, alone, rows)
    weights, out = (structure.parameters(vector) for vector in (state[0], np.empty_like(state[0])))
    times = []
    with ShardThreads(config.threads):
        worker.push(0, Span(0, 1), weights, [out])
        for _ in range(3):
            began = time.perf_counter()
            worker.push(0, Span(0, 1), weights, [out])
            times.append(time.perf_counter() - began)
    return Speed(step, min(statistics.median(times), step / shards), shards)


def slower_choice(config: Config, rows: int, here: float, step: float, steps_left: int) -> str | None:
    """Return what to tell a person whose choice of workers turns out slower than another would be, None if it is not.

    Args:
        config: the settings, with the chosen workers.
        rows: rows per mini-batch.
        here: seconds per step in this process.
        step: seconds per step as chosen.
        steps_left: steps that are still to be done.
    """
    assert config.shards is not None
    if config.workers:
        if step < _CLEARLY * here:
            return None
        return (
            f"{config.workers} workers do {rows / step:,.0f} samples/s, this process alone would do about "
            f"{rows / here:,.0f}: --workers 0 or auto is quicker here"
        )
    workers = most_useful_workers(config)
    hoped = Speed(here, here / config.shards, config.shards).with_workers(workers)
    if steps_left * (here - hoped) < 2 * RAY_START_SECONDS:
        return None
    return f"--workers {workers} could do up to {rows / hoped:,.0f} samples/s, this process does {rows / here:,.0f}"


def median_step(
    path: Path, at_least: float = _MEASURED_SECONDS, fewest: int = _FEWEST_STEPS, most: int = _MOST_STEPS
) -> float:
    """Return the seconds of a step, as seen over a short time; the state moves on. Infinite where the run diverges."""
    seconds = []
    deadline = time.perf_counter() + at_least
    # A rate that makes the run diverge is for the run to say, if it comes so far.
    with suppress(DivergedError), closing(path.steps(path.step + most)) as records:
        for record in records:
            seconds.append(record.seconds)
            if len(seconds) >= WARM_UP_STEPS + fewest and time.perf_counter() > deadline:
                break
    return median_of(seconds)


def median_of(seconds: Sequence[float]) -> float:
    """Return the median of steps but for the first ones, which are slower; infinite where none was done."""
    return statistics.median(seconds[WARM_UP_STEPS:] or seconds or [math.inf])
