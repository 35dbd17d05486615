"""What steps take on this machine alone with 0, 1, 2 .. workers: some steps done for real, in processes without Ray.

The processes run the loops that a run's actors run, over the same shared memory, so nothing is left to a model.
"""

from __future__ import annotations

import math
import multiprocessing
import select
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
from distbp.parallel.host.messages import DRIVER, RUN, Channel, connect, receive_news
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
"""Of steps, over all numbers of workers together."""
_START_SECONDS = 60.0
_MOST_BYTES = 64 * 2**20
"""Of rows that are given to the processes; more than a processor's caches hold, so that they are read as in a run."""
_PROCESS_BYTES, _ACTOR_BYTES = 50 * 2**20, 130 * 2**20
"""Of Python with NumPy, and of that with Ray, before there is any data."""
_FEWEST_STEPS = 5


@dataclass(frozen=True)
class Expected:
    """What is expected of a run with so many workers."""

    workers: int
    step_seconds: float
    epoch_seconds: float
    """Of the steps; without start and evaluation."""
    run_seconds: float
    """Of all epochs, with Ray's start."""
    memory_bytes: int
    """Of each process, about: of a worker, or of this process with 0 workers."""
    shared_bytes: int
    """Of memory that the processes share, beside the data."""
    step_bytes: int
    """That workers read and write of weights and gradients in a step; in memory, not over a network."""


@dataclass(frozen=True)
class MachinePlan:
    """What a run is expected to cost on this machine."""

    parameters: int
    rows: int
    """Per mini-batch."""
    shards: int
    steps_per_epoch: int
    epochs: int
    data_bytes: int
    cores: int
    choices: tuple[Expected, ...]
    """In rising order of workers."""

    @property
    def quickest(self) -> Expected:
        """The choice with the quickest step."""
        return min(self.choices, key=lambda choice: choice.step_seconds)

    @property
    def best(self) -> Expected:
        """The choice that is done first, with the start of Ray."""
        return min(self.choices, key=lambda choice: choice.run_seconds)


def plan_machine(config: Config, data: DataSet) -> MachinePlan:
    """Do steps for about two seconds, with rising numbers of workers, and return what a run is expected to cost.

    Args:
        config: the settings of the run; ``workers`` is the largest number to look at, ``auto`` up to a worker for
            each core and shard.
        data: what it is to learn from.

    Raises:
        UsageError: the settings do not go together with the data.
        DataError: the targets are none for this cost.
        TrainingError: the run diverges in its first steps, or would take more memory than is free.
        ClusterError: the processes did not come up, or there is too little shared memory.
    """
    data = with_parts(config, data)
    config, structure = settle(config, data, None)
    assert config.shards is not None
    order = EpochOrder.of(config, len(data.train))
    rows, shards = order.size(0), min(config.shards, order.size(0))
    most = min(cpu_count(), shards) if config.workers == "auto" else config.worker_count
    listed = host_counts(1, most) if most else []
    tried = sorted({min(count, shards) for count in listed})
    _check_memory(structure, config, data.train, tried)
    state = initial_state(structure, config)
    some = _some(data.train, config.batch_size)
    alone = replace(config, workers=0)
    with one_thread(config.threads):
        here = InProcessExecutor(structure, alone, some, state)
        seconds = {0: median_step(here, _SECONDS / (1 + len(tried)), _FEWEST_STEPS, most=2**62)}
        if tried:
            many = replace(config, workers=tried[-1])
            seconds |= _steps_with(structure, many, some, state, tried, _SECONDS / (1 + len(tried)))
    if not all(map(math.isfinite, seconds.values())):
        raise TrainingError("the run diverges in its first steps, so nothing can be planned: try a lower --lr")
    choices = []
    for workers in (0, *listed):
        step = seconds[min(workers, shards)]
        epoch = step * order.steps_per_epoch
        start = RAY_START_SECONDS if workers else 0.0
        sizes = _sizes(structure, replace(config, workers=workers), data.train, state)
        choices.append(Expected(workers, step, epoch, start + config.epochs * epoch, *sizes))
    held = sum(getattr(part, "nbytes", 0) for part in (data.train.x, data.train.y, data.train.weights))
    return MachinePlan(
        structure.parameter_count, rows, shards, order.steps_per_epoch, config.epochs, held, cpu_count(), tuple(choices)
    )  # fmt: skip


def _check_memory(structure: Structure, config: Settings, rows: Rows, tried: Sequence[int]) -> None:
    """Refuse what would fill the machine, before any of it is taken."""
    shape = 1 + len(optimizer_of(config).slots), structure.parameter_count
    state = np.broadcast_to(np.zeros((), config.dtype), shape)  # as large as it would be, and takes nothing
    needed = _sizes(structure, replace(config, workers=0), rows, state)[0]
    if tried:
        each, shared, _ = _sizes(structure, replace(config, workers=tried[-1]), rows, state)
        needed += tried[-1] * each + shared
    free = free_memory()
    if free is not None and needed > free:
        cure = " or --workers 0" if tried else ""
        raise TrainingError(
            f"{structure.parameter_count:,} parameters would take {needed / 1e9:,.1f} GB of memory here, of which "
            f"{free / 1e9:,.1f} GB are free: try smaller --hidden{cure}"
        )


def _some(rows: Rows, batch_size: int) -> Rows:
    """Return as many of the first rows as are enough to measure with, in memory."""
    size = max(1, rows.x.shape[1] * rows.x.dtype.itemsize)
    count = min(len(rows), max(2 * batch_size, _MOST_BYTES // size))
    x = np.empty((count, rows.x.shape[1]), rows.x.dtype)
    np.take(rows.x, np.arange(count), axis=0, out=x, mode="clip")
    weights = None if rows.weights is None else np.asarray(rows.weights[:count])
    return replace(rows, x=x, y=np.asarray(rows.y[:count]), weights=weights)


def _sizes(structure: Structure, config: Settings, rows: Rows, state: Array) -> tuple[int, int, int]:
    """Return the bytes of a worker, of shared memory, and that are read and written in a step."""
    assert config.shards is not None
    vector, item = state[0].nbytes, state.itemsize
    mini_batch = min(config.batch_size, len(rows))
    parts = cut(mini_batch, config.shards)
    spans = cut(len(parts), config.worker_count) if config.workers else [Span(0, len(parts))]
    gathered = sum(part.stop - part.first for part in parts[: spans[0].stop])
    is_taken_as_it_is = rows.encoding is None and rows.x.dtype == state.dtype and rows.factor == 1.0
    x = gathered * (rows.inputs * item * (not is_taken_as_it_is) + rows.x.shape[1] * rows.x.dtype.itemsize)
    *hidden, outputs = structure.sizes[1:]
    kept = [2 + sigma.needs_z + 2 * (config.dropout > 0) for sigma in structure.sigmas[:-1]]  # z or a, and delta
    widths = 4 * outputs + sum(count * width for count, width in zip(kept, hidden, strict=True))
    own = x + parts[0].stop * widths * item + (config.shards - 1).bit_length() * vector
    if not config.workers:
        return _PROCESS_BYTES + own + vector + 3 * state.nbytes, 0, 2 * vector
    written = sum(len(subtrees(span, len(parts))) for span in spans)
    shared = _shape_of(structure, config, state).memory(spare=False)
    return _ACTOR_BYTES + own, shared, (len(spans) + written) * vector


def _shape_of(structure: Structure, config: Settings, state: Array) -> Shape:
    """Return how large the arrays are that so many workers share."""
    assert config.shards is not None
    places, (slots, parameters) = config.worker_count, state.shape
    sums = buffers_for(config.shards, places)
    return Shape(slots, parameters, state.dtype.name, places, sums, config.shards, structure.depth)


def _steps_with(
    structure: Structure, config: Settings, rows: Rows, state: Array, counts: Sequence[int], seconds: float
) -> dict[int, float]:
    """Return the median seconds of a step for each number of workers, which come one after the other."""
    places, shape = config.worker_count, _shape_of(structure, config, state)
    with private_folder(memory_folder()) as folder:
        exchange = SharedMemory(folder, shape, create=True)
        exchange.states[0] = state
        context = multiprocessing.get_context("spawn")
        gates = [context.Event() for _ in range(places)]
        common = (structure, config, rows, folder, shape)
        server = context.Process(target=_serve, args=(structure, config, len(rows), folder, shape), daemon=True)
        workers = [
            context.Process(target=_work, args=(*common, number, gate), daemon=True)
            for number, gate in enumerate(gates)
        ]
        with _running([server, *workers]) as deadline:
            channel = connect(folder, DRIVER, _START_SECONDS)
            if channel is None:
                raise ClusterError(f"the processes of the measurement did not come up within {_START_SECONDS:g} s")
            try:
                return _measured(exchange, channel, gates, counts, seconds, deadline)
            finally:
                channel.close()


def _measured(
    exchange: SharedMemory,
    channel: Channel,
    gates: Sequence[Any],
    counts: Iterable[int],
    seconds: float,
    deadline: float,
) -> dict[int, float]:
    found: dict[int, float] = {}
    joined = 0
    for count in counts:
        for gate in gates[joined:count]:
            gate.set()
        while joined < count:
            joined += "joined" in _news(channel, max(0.0, deadline - time.monotonic()))
        exchange.stop_asked[0] = 0
        channel.send(RUN.pack(exchange.step, 2**62, 1.0))
        until, taken, done = time.monotonic() + seconds, list[float](), False
        while not done:
            if select.select([channel], [], [], 0.02)[0]:
                done = "done" in _news(channel, _START_SECONDS)
            taken += [record.seconds for record in exchange.read_records()]
            if time.monotonic() > until and len(taken) >= WARM_UP_STEPS + _FEWEST_STEPS:
                exchange.stop_asked[0] = 1
            if time.monotonic() > until + _START_SECONDS:
                raise ClusterError(f"a step of {count} workers took more than {_START_SECONDS:g} s")
        found[count] = median_of(taken)
    return found


def _news(channel: Channel, patience: float) -> dict[str, Any]:
    news = receive_news(channel) if select.select([channel], [], [], patience)[0] else None
    if news is None or "left" in news:
        raise ClusterError("a process of the measurement ended or did not come up: is there memory enough?")
    return news


@contextmanager
def _running(processes: Sequence[Any]) -> Iterator[float]:
    """Start processes, and end them with the block; give until when they must have come."""
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
    """Be the parameter server; the driver that goes away, or an interrupt, ends it."""
    pin_threads(config.threads)
    exchange = SharedMemory(folder, shape)
    order = EpochOrder.of(config, rows)
    server = make_parameter_server(structure, config, order, exchange.states, exchange.step)
    with suppress(KeyboardInterrupt):
        ServerLoop(server, exchange, order, _START_SECONDS, _START_SECONDS).serve()


def _work(
    structure: Structure, config: Settings, rows: Rows, folder: Path, shape: Shape, number: int, gate: Any
) -> None:
    """Be a worker, once the gate is open."""
    pin_threads(config.threads)
    worker = Worker(structure, config, rows)
    with suppress(KeyboardInterrupt):
        if gate.wait(2 * _START_SECONDS):
            work(worker, structure, SharedMemory(folder, shape), number, _START_SECONDS, _START_SECONDS)
