"""How a run's pool is started: the one that was asked for, or with ``auto`` the quickest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np

from distbp.config import Settings
from distbp.data.dataset import Array, DataSet, Rows
from distbp.errors import ClusterError, PeerLostError
from distbp.model.network import Network
from distbp.nn.initialization import initial_weights
from distbp.nn.structure import Structure
from distbp.optim import optimizer_of
from distbp.parallel.host.shared_memory import MORE_MEMORY, Shape
from distbp.parallel.step.executor import InProcessExecutor, ManagedExecutor
from distbp.parallel.step.shards import buffers_for
from distbp.system.folders import memory_folder
from distbp.system.limits import cpu_count
from distbp.training.executors.choice import Choice, State
from distbp.training.executors.timing import measure_here, median_step

Note = Callable[[str], None]

_MOMENT_SECONDS = 0.3


def initial_state(structure: Structure, config: Settings, network: Network | None = None) -> Array:
    """Return weights and optimizer state before the first step, shape (1 + slots, parameters)."""
    assert config.initial is not None
    slots = optimizer_of(config).slots
    state = np.zeros((1 + len(slots), structure.parameter_count), config.dtype)
    if network is not None:
        state[0] = network.weights
    else:
        state[0] = initial_weights(structure, config.initial, config.seed, config.dtype)
    return state


def make_executor(
    structure: Structure, config: Settings, rows: Rows, state: Array, note: Note, step: int = 0
) -> ManagedExecutor:
    """Return the pool of ``config.workers``, not yet started, with the state after ``step`` steps."""
    if config.workers == 0:
        return InProcessExecutor(structure, config, rows, state, step)
    # Imported here so that a run in this process never loads Ray.
    from distbp.actors import ActorExecutor

    return ActorExecutor(structure, config, rows, state, note, step)


def read_while_ray_starts(stack: ExitStack, config: Settings, read: Callable[[], DataSet], note: Note) -> DataSet:
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
def started_executor(
    structure: Structure, config: Settings, rows: Rows, state: Array, note: Note, steps: int, step: int
) -> Iterator[ManagedExecutor]:
    """Start the pool for ``steps`` steps after ``step``; with ``auto`` the one that promises to be done first."""
    with ExitStack() as stack:
        if config.workers != "auto" or config.address is not None:
            if config.workers != "auto" and config.workers != 0 and config.address is None:
                workers = max(config.least_workers, min(config.worker_count, cpu_count()))
                missing = too_little_memory(config, state, structure.depth, workers, spare=False)
                if missing is not None:
                    raise ClusterError(f"{missing}: {MORE_MEMORY}")
            pool = stack.enter_context(make_executor(structure, config, rows, state, note, step))
        else:
            pool = _quickest_executor(stack, structure, config, rows, state, note, steps, step)
        del rows  # this frame lives as long as the run; the pool has the rows where they are needed
        yield pool


def _quickest_executor(
    stack: ExitStack,
    structure: Structure,
    config: Settings,
    rows: Rows,
    state: Array,
    note: Note,
    steps: int,
    step: int,
) -> ManagedExecutor:
    """Measure this process first, and start Ray only if workers could win by more than its start takes."""

    def start(workers: int) -> ManagedExecutor:
        return stack.enter_context(make_executor(structure, replace(config, workers=workers), rows, state, note, step))

    mini_batch = min(config.batch_size, len(rows))
    choice = Choice(mini_batch, most_useful_workers(config, mini_batch), steps)
    choice.measured_here(measure_here(structure, config, rows, state))
    pool: ManagedExecutor | None = None
    if choice.state is State.TRIES_WORKERS:
        missing = too_little_memory(config, state, structure.depth, choice.workers, spare=True)
        try:
            if missing is not None:
                choice.cannot_try(missing)
            else:
                pool = start(choice.workers)
                choice.measured_workers(median_step(pool))
        except (ClusterError, PeerLostError) as error:
            choice.cannot_try(f"{choice.workers} workers cannot be used ({error})")
    if pool is not None and choice.state is State.WORKERS:
        pool.restart(state, step)
    else:
        stack.close()  # of workers that were slower, or did not last
        pool = start(0)
    note(choice.note)
    return pool


def too_little_memory(config: Settings, state: Array, layers: int, workers: int, spare: bool) -> str | None:
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


def most_useful_workers(config: Settings, rows: int) -> int:
    """Return the number of workers that could be quickest for mini-batches of so many rows.

    That is one per core and shard, and none that finds no room.
    """
    # Imported here, as above; within a placement group Ray is there already.
    from distbp.actors import free_cpus

    assert config.shards is not None
    room = free_cpus()
    return max(1, min(cpu_count() if room is None else room, config.shards, rows))
