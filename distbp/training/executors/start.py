"""Starts the executor of a run: the one that the settings ask for, or with ``--workers auto`` the faster one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack

import numpy as np

from distbp.config import Config, Settings, Workers
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
from distbp.training.executors.timing import measure_in_process, median_step

Note = Callable[[str], None]

_SHORT_READ_SECONDS = 0.3


def initial_state(structure: Structure, config: Settings, network: Network | None = None) -> Array:
    """Return weights and optimizer state before the first step, shape (1 + slots, parameters)."""
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
    """Return the executor for ``config.workers``, not yet started, with the state after ``step`` steps."""
    if config.workers.in_process:
        return InProcessExecutor(structure, config, rows, state, step)
    # Imported here so that a run in this process never loads Ray.
    from distbp.actors import ActorExecutor

    return ActorExecutor(structure, config, rows, state, note, step)


def read_while_starting_ray(stack: ExitStack, config: Config, read: Callable[[], DataSet], note: Note) -> DataSet:
    """Read the data; if that takes long and the run needs Ray, start Ray meanwhile; ``stack`` ends it.

    Ray starts only after a moment, so that an error in small data is reported before it.
    """
    workers = Workers.of(config.workers)
    if workers.is_auto or workers.in_process:
        return read()
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read)
        if not wait([reading], timeout=_SHORT_READ_SECONDS).done:
            from distbp.actors import session_for

            stack.enter_context(session_for(config, note))
        return reading.result()


def start_executor(
    stack: ExitStack,
    structure: Structure,
    config: Settings,
    rows: Rows,
    state: Array,
    note: Note,
    steps: int,
    step: int,
) -> ManagedExecutor:
    """Start the executor for ``steps`` steps after ``step``, on ``stack``; with ``auto`` the one that is faster."""
    if config.workers.is_auto and config.address is None:
        return _faster_executor(stack, structure, config, rows, state, note, steps, step)
    if config.address is None and not config.workers.in_process:
        workers = max(config.workers.least, min(config.workers.most, cpu_count()))
        missing = missing_memory(config, state, structure.depth, workers, spare=False)
        if missing is not None:
            raise ClusterError(f"{missing}: {MORE_MEMORY}")
    return stack.enter_context(make_executor(structure, config, rows, state, note, step))


def _faster_executor(
    stack: ExitStack,
    structure: Structure,
    config: Settings,
    rows: Rows,
    state: Array,
    note: Note,
    steps: int,
    step: int,
) -> ManagedExecutor:
    """Measure this process first; start and measure workers only if they could save more than Ray's start takes."""

    def make(workers: int) -> ManagedExecutor:
        return make_executor(structure, config.with_workers(workers), rows, state, note, step)

    mini_batch = min(config.batch_size, len(rows))
    choice = Choice(mini_batch, useful_workers(config, mini_batch), steps)
    choice.process_measured(measure_in_process(structure, config, rows, state))
    with ExitStack() as trial:
        executor: ManagedExecutor | None = None
        if choice.state is State.MEASURING_WORKERS:
            missing = missing_memory(config, state, structure.depth, choice.workers, spare=True)
            try:
                if missing is not None:
                    choice.workers_failed(missing)
                else:
                    executor = trial.enter_context(make(choice.workers))
                    choice.workers_measured(median_step(executor))
            except (ClusterError, PeerLostError) as error:
                choice.workers_failed(f"{choice.workers} workers cannot be used ({error})")
        if executor is not None and choice.state is State.WORKERS:
            executor.restart(state, step)
            stack.enter_context(trial.pop_all())
            note(choice.note)
            return executor
    executor = stack.enter_context(make(0))
    note(choice.note)
    return executor


def missing_memory(config: Settings, state: Array, layers: int, workers: int, spare: bool) -> str | None:
    """Return how much shared memory the workers of this host lack, None if there is enough.

    ``spare`` includes the memory for computing a straggler's shards a second time.
    """
    sums = buffers_for(config.shards, workers)
    shape = Shape(state.shape[0], state.shape[1], state.dtype.name, workers, sums, config.shards, layers)
    needed, free = shape.memory(spare), shutil.disk_usage(memory_folder()).free
    if needed <= free:
        return None
    return (
        f"{workers} workers need {needed / 2**20:,.0f} MB of shared memory, {memory_folder()} has "
        f"{free / 2**20:,.0f} free"
    )


def useful_workers(config: Settings, rows: int) -> int:
    """Return the number of workers that could be fastest for mini-batches of ``rows`` rows.

    It is limited by the shards and by the cores, or by the free CPUs of the placement group that this process is in.
    """
    # Imported here so that a run in this process never loads Ray; in a placement group Ray is loaded already.
    from distbp.actors import free_cpus

    free = free_cpus()
    return max(1, min(cpu_count() if free is None else free, config.shards, rows))
