"""Measure steps on this machine with 0, 1, 2 .. workers and estimate the cost of a whole run.

The workers are processes without Ray. They run the same loops as a run's actors, over the same shared memory, so step
times are measured, not modelled.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distbp.config import Config, Settings
from distbp.data.dataset import Array, DataSet, Rows
from distbp.data.epoch_order import EpochOrder
from distbp.errors import ClusterError, TrainingError
from distbp.nn.structure import Structure
from distbp.optim import optimizer_of
from distbp.parallel.host.messages import RunEnded, ServerMessage, WorkerEnded, WorkerJoined
from distbp.parallel.host.server_link import ServerLink
from distbp.parallel.host.server_loop import ServerLoop
from distbp.parallel.host.shared_memory import Shape, SharedMemory
from distbp.parallel.host.worker_loop import work
from distbp.parallel.mesh.cost import host_counts
from distbp.parallel.step.executor import InProcessExecutor, make_parameter_server
from distbp.parallel.step.shards import Span, buffers_for, cut, subtrees
from distbp.parallel.step.worker import Worker
from distbp.system.blas import one_thread, pin_threads
from distbp.system.folders import memory_folder, private_folder
from distbp.system.limits import cpu_count
from distbp.system.memory import free_memory
from distbp.training.executors import RAY_START_SECONDS, WARM_UP_STEPS, initial_state, median_of, median_step
from distbp.training.setup import settle, with_parts

_SECONDS = 2.0
"""Duration of all measured steps together."""
_START_SECONDS = 60.0
_MOST_BYTES = 64 * 2**20
"""Size of the rows to measure with: larger than the processor's caches, so that rows come from memory as in a run."""
_PROCESS_BYTES, _ACTOR_BYTES = 50 * 2**20, 130 * 2**20
"""Memory of a Python process with NumPy, and of one with NumPy and Ray, before it has any data."""
_FEWEST_STEPS = 5
_PROCESS_LOST = "a process of the measurement ended or did not start: is there enough memory?"


@dataclass(frozen=True)
class RunEstimate:
    """The expected cost of a run with a certain number of workers."""

    workers: int
    step_seconds: float
    epoch_seconds: float
    """Duration of an epoch's steps, without evaluation."""
    run_seconds: float
    """Duration of all epochs and of starting Ray."""
    memory_bytes: int
    """Approximate memory of each worker, or of this process with 0 workers."""
    shared_bytes: int
    """Memory that the processes share, without the data."""
    step_bytes: int
    """Weights and gradients that workers read and write in a step; in memory, not over a network."""


@dataclass(frozen=True)
class MachinePlan:
    """The expected cost of a run on this machine, by number of workers."""

    parameters: int
    rows: int
    """Rows in a mini-batch."""
    shards: int
    steps_per_epoch: int
    epochs: int
    data_bytes: int
    cores: int
    choices: tuple[RunEstimate, ...]
    """One estimate for each number of workers, in ascending order."""

    @property
    def quickest(self) -> RunEstimate:
        """The choice with the fastest step."""
        return min(self.choices, key=lambda choice: choice.step_seconds)

    @property
    def best(self) -> RunEstimate:
        """The choice whose run finishes first, including the start of Ray."""
        return min(self.choices, key=lambda choice: choice.run_seconds)


def plan_machine(config: Config, data: DataSet) -> MachinePlan:
    """Measure steps for about two seconds, with increasing numbers of workers; return the expected cost of a run.

    Args:
        config: the settings of the run; ``workers`` is the largest number to measure, ``auto`` means up to one worker
            for each core and shard.
        data: the training data.

    Raises:
        UsageError: the settings do not fit the data.
        DataError: the targets do not fit the cost.
        TrainingError: the run diverges in its first steps, or needs more memory than is free.
        ClusterError: the processes did not start, or there is too little shared memory.
    """
    data = with_parts(config, data)
    settings, structure = settle(config, data, None)
    order = EpochOrder.of(settings, len(data.train))
    rows, shards = order.size(0), min(settings.shards, order.size(0))
    most = min(cpu_count(), shards) if settings.workers.is_auto else settings.workers.most
    listed = host_counts(1, most) if most else []
    measured = sorted({min(count, shards) for count in listed})
    _check_memory(structure, settings, data.train, measured)
    state = initial_state(structure, settings)
    seconds = _step_seconds(structure, settings, _sample(data.train, settings.batch_size), state, measured)
    if not all(map(math.isfinite, seconds.values())):
        raise TrainingError("the run diverges in its first steps, so nothing can be planned: try a lower --lr")
    choices = []
    for workers in (0, *listed):
        step = seconds[min(workers, shards)]
        epoch = step * order.steps_per_epoch
        start = RAY_START_SECONDS if workers else 0.0
        sizes = _sizes(structure, settings.with_workers(workers), data.train, state)
        choices.append(RunEstimate(workers, step, epoch, start + settings.epochs * epoch, *sizes))
    return MachinePlan(
        parameters=structure.parameter_count,
        rows=rows,
        shards=shards,
        steps_per_epoch=order.steps_per_epoch,
        epochs=settings.epochs,
        data_bytes=sum(getattr(part, "nbytes", 0) for part in (data.train.x, data.train.y, data.train.weights)),
        cores=cpu_count(),
        choices=tuple(choices),
    )


def _step_seconds(
    structure: Structure, config: Settings, rows: Rows, state: Array, counts: Sequence[int]
) -> dict[int, float]:
    """Measure the median step in this process and with each of these numbers of workers."""
    each = _SECONDS / (1 + len(counts))
    with one_thread(config.threads):
        executor = InProcessExecutor(structure, config.with_workers(0), rows, state)
        seconds = {0: median_step(executor, each, _FEWEST_STEPS, most=2**62)}
        if counts:
            seconds |= _steps_with(structure, config.with_workers(counts[-1]), rows, state, counts, each)
    return seconds


def _check_memory(structure: Structure, config: Settings, rows: Rows, measured: Sequence[int]) -> None:
    """Refuse a run that needs more memory than is free, before it allocates any."""
    shape = 1 + len(optimizer_of(config).slots), structure.parameter_count
    state = np.broadcast_to(np.zeros((), config.dtype), shape)  # has the state's size, but takes no memory
    needed = _sizes(structure, config.with_workers(0), rows, state)[0]
    if measured:
        each, shared, _ = _sizes(structure, config.with_workers(measured[-1]), rows, state)
        needed += measured[-1] * each + shared
    free = free_memory()
    if free is not None and needed > free:
        cure = " or --workers 0" if measured else ""
        raise TrainingError(
            f"{structure.parameter_count:,} parameters would take {needed / 1e9:,.1f} GB of memory, of which "
            f"{free / 1e9:,.1f} GB are free: try smaller --hidden{cure}"
        )


def _sample(rows: Rows, batch_size: int) -> Rows:
    """Return the first rows, copied into memory: enough to measure with."""
    size = max(1, rows.x.shape[1] * rows.x.dtype.itemsize)
    count = min(len(rows), max(2 * batch_size, _MOST_BYTES // size))
    x = np.empty((count, rows.x.shape[1]), rows.x.dtype)
    np.take(rows.x, np.arange(count), axis=0, out=x, mode="clip")
    weights = None if rows.weights is None else np.asarray(rows.weights[:count])
    return replace(rows, x=x, y=np.asarray(rows.y[:count]), weights=weights)


def _sizes(structure: Structure, config: Settings, rows: Rows, state: Array) -> tuple[int, int, int]:
    """Return the bytes of a worker, of shared memory, and of the arrays that a step reads and writes."""
    vector, item = state[0].nbytes, state.itemsize
    mini_batch = min(config.batch_size, len(rows))
    shards = cut(mini_batch, config.shards)
    spans = [Span(0, len(shards))] if config.workers.in_process else cut(len(shards), config.workers.most)
    gathered = sum(shard.stop - shard.first for shard in shards[: spans[0].stop])
    is_encoded = rows.encoding is not None or rows.x.dtype != state.dtype or rows.factor != 1.0
    x = gathered * (rows.inputs * item * is_encoded + rows.x.shape[1] * rows.x.dtype.itemsize)
    *hidden, outputs = structure.sizes[1:]
    arrays = [2 + sigma.needs_z + 2 * (config.dropout > 0) for sigma in structure.sigmas[:-1]]  # z or a, and delta
    widths = 4 * outputs + sum(count * width for count, width in zip(arrays, hidden, strict=True))
    private = x + shards[0].stop * widths * item + (config.shards - 1).bit_length() * vector
    if config.workers.in_process:
        return _PROCESS_BYTES + private + vector + 3 * state.nbytes, 0, 2 * vector
    sums = sum(len(subtrees(span, len(shards))) for span in spans)
    shared = _shape_of(structure, config, state).memory(spare=False)
    return _ACTOR_BYTES + private, shared, (len(spans) + sums) * vector


def _shape_of(structure: Structure, config: Settings, state: Array) -> Shape:
    """Return the sizes of the arrays that the workers share."""
    workers, (slots, parameters) = config.workers.most, state.shape
    sums = buffers_for(config.shards, workers)
    return Shape(slots, parameters, state.dtype.name, workers, sums, config.shards, structure.depth)


def _steps_with(
    structure: Structure, config: Settings, rows: Rows, state: Array, counts: Sequence[int], seconds: float
) -> dict[int, float]:
    """Measure the median step for each number of workers, which join one after another."""
    shape = _shape_of(structure, config, state)
    with private_folder(memory_folder()) as folder:
        memory = SharedMemory(folder, shape, create=True)
        memory.states[0] = state
        context = multiprocessing.get_context("spawn")
        gates = [context.Event() for _ in range(config.workers.most)]
        common = (structure, config, rows, folder, shape)
        server = context.Process(target=_serve, args=(structure, config, len(rows), folder, shape), daemon=True)
        workers = [
            context.Process(target=_work, args=(*common, number, gate), daemon=True)
            for number, gate in enumerate(gates)
        ]
        with _running([server, *workers]) as deadline:
            link = ServerLink.to(folder, _START_SECONDS)
            if link is None:
                raise ClusterError(f"the processes of the measurement did not start within {_START_SECONDS:g} s")
            try:
                return _measured(memory, link, gates, counts, seconds, deadline)
            finally:
                link.close()


def _measured(
    memory: SharedMemory,
    link: ServerLink,
    gates: Sequence[Any],
    counts: Iterable[int],
    seconds: float,
    deadline: float,
) -> dict[int, float]:
    """Let workers join and measure the median step after each number of them."""
    medians: dict[int, float] = {}
    joined = 0
    for count in counts:
        for gate in gates[joined:count]:
            gate.set()
        while joined < count:
            message = _next_message(link, max(0.0, deadline - time.monotonic()))
            if message is None and time.monotonic() >= deadline:
                raise ClusterError(_PROCESS_LOST)
            joined += isinstance(message, WorkerJoined)
        memory.stop_requested[0] = 0
        link.run(memory.step, 2**62, 1.0)
        stop_at, durations, done = time.monotonic() + seconds, list[float](), False
        while not done:
            done = isinstance(_next_message(link, 0.02), RunEnded)
            durations += [record.seconds for record in memory.records.read()]
            if time.monotonic() > stop_at and len(durations) >= WARM_UP_STEPS + _FEWEST_STEPS:
                memory.stop_requested[0] = 1
            if time.monotonic() > stop_at + _START_SECONDS:
                raise ClusterError(f"a step of {count} workers took more than {_START_SECONDS:g} s")
        medians[count] = median_of(durations)
    return medians


def _next_message(link: ServerLink, seconds: float) -> ServerMessage | None:
    """Wait for the server's next message; return None if there is none. Raise ClusterError if a process has ended."""
    try:
        message = link.next_message(seconds)
    except EOFError as error:
        raise ClusterError(_PROCESS_LOST) from error
    if isinstance(message, WorkerEnded):
        raise ClusterError(_PROCESS_LOST)
    return message


@contextmanager
def _running(processes: Sequence[Any]) -> Iterator[float]:
    """Start processes and kill them at the end of the block; yield the deadline by which they must have started."""
    try:
        for process in processes:
            process.start()
        yield time.monotonic() + _START_SECONDS
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


def _serve(structure: Structure, config: Settings, rows: int, folder: Path, shape: Shape) -> None:
    """Run the parameter server until the driver disconnects or interrupts it."""
    pin_threads(config.threads)
    memory = SharedMemory(folder, shape)
    order = EpochOrder.of(config, rows)
    server = make_parameter_server(structure, config, order, memory.states, memory.step)
    with suppress(KeyboardInterrupt):
        ServerLoop(server, memory, order, _START_SECONDS, _START_SECONDS).serve()


def _work(
    structure: Structure, config: Settings, rows: Rows, folder: Path, shape: Shape, number: int, gate: Any
) -> None:
    """Run a worker once the gate is open."""
    pin_threads(config.threads)
    worker = Worker(structure, config, rows)
    with suppress(KeyboardInterrupt):
        if gate.wait(2 * _START_SECONDS):
            work(worker, structure, SharedMemory(folder, shape), number, _START_SECONDS, _START_SECONDS)
