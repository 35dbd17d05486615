"""Predict the duration of steps on several hosts from a short measurement of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from distbp.config import Config, Settings, default_shards
from distbp.data.dataset import Array, DataSet, Rows
from distbp.data.epoch_order import EpochOrder
from distbp.nn.structure import Structure
from distbp.optim.rule import Rule
from distbp.parallel.mesh.cost import Machine, StepEstimate, Workload, fastest_step, largest_worthwhile
from distbp.parallel.step.executor import double_buffered
from distbp.parallel.step.factor_store import factor_size
from distbp.parallel.step.server import ParameterServer
from distbp.parallel.step.shards import Span, cut
from distbp.parallel.step.worker import Worker
from distbp.system.blas import one_thread
from distbp.training.executors import initial_state
from distbp.training.setup import settle, with_parts

_SECONDS = 2.0
"""Duration of the measurement."""
_WARM_UP = 2
_FEWEST_STEPS = 3


@dataclass(frozen=True)
class HostPlan:
    """The expected duration of a step on several hosts, by number of hosts."""

    parameters: int
    rows: int
    """Rows in a mini-batch."""
    shards: int
    per_host: int
    """Workers on each host."""
    machine: Machine
    """Timings measured on this machine."""
    alone_shards: int
    """Default number of shards, with which one worker alone is timed."""
    alone_seconds: float
    """Duration of a step by one worker with ``alone_shards`` shards: the baseline of speed-ups."""
    steps: tuple[StepEstimate, ...]
    """One estimate for each number of hosts."""

    @property
    def useful_hosts(self) -> int:
        """The largest number of hosts that all get a shard."""
        return -(-self.shards // self.per_host)

    @property
    def stops_paying(self) -> int | None:
        """The smallest number of hosts that no larger number beats by 10 %; None if that is the largest."""
        reached = largest_worthwhile(self.steps).hosts
        return reached if reached < self.steps[-1].hosts else None


def plan_hosts(config: Config, data: DataSet, hosts: Iterable[int], link: float, per_host: int = 1) -> HostPlan:
    """Measure this machine for about two seconds; return the expected duration of steps on several hosts.

    Args:
        config: the settings of the run; ``servers``, if None, is chosen for each number of hosts.
        data: the training data.
        hosts: the numbers of hosts, in ascending order.
        link: bandwidth of each host's link in each direction, in bytes per second.
        per_host: workers on each host, with a core for each of their threads.

    Raises:
        UsageError: the settings do not fit the data.
        DataError: the targets do not fit the cost.
    """
    data = with_parts(config, data)
    settings, structure = settle(config, data, None)
    rows = min(settings.batch_size, len(data.train))
    shards, usual = (min(count, rows) for count in (settings.shards, default_shards(settings.batch_size)))
    counts = (shards,) if shards <= usual else (shards, usual)
    state = initial_state(structure, settings)
    with one_thread(settings.threads):
        seconds = _SECONDS / len(counts)
        machines = [measure_machine(structure, settings, data.train, state, count, seconds) for count in counts]
    machine, alone = machines[0], machines[-1]
    workload = workload_of(settings, structure, rows, shards)
    steps = tuple(fastest_step(workload, machine, link, count, settings.servers, per_host) for count in hosts)
    alone_step = fastest_step(workload._replace(shards=counts[-1]), alone, link, 1)
    return HostPlan(
        parameters=structure.parameter_count,
        rows=rows,
        shards=shards,
        per_host=per_host,
        machine=machine,
        alone_shards=counts[-1],
        alone_seconds=alone_step.seconds,
        steps=steps,
    )


def workload_of(config: Settings, structure: Structure, rows: int, shards: int) -> Workload:
    """Return the work of a step with these settings, for the cost model."""
    if config.wire == "float16":
        return Workload(rows, structure.bounds, shards, 2, is_packed=True)
    largest = cut(rows, shards)[0].stop
    factors = tuple(factor_size(structure, layer, largest) for layer in range(structure.depth))
    return Workload(rows, structure.bounds, shards, np.dtype(config.dtype).itemsize, factors=factors)


def measure_machine(
    structure: Structure, config: Settings, rows: Rows, state: Array, shards: int, seconds: float
) -> Machine:
    """Measure the parts of a step with this many shards for about ``seconds``, in this process; return medians.

    ``state`` is not changed.
    """
    # A mini-batch that is one shard, the largest, suffices.
    size = cut(min(config.batch_size, len(rows)), shards)[0].stop
    one = replace(config.with_workers(0), shards=1, batch_size=size)
    worker = Worker(structure, one, rows)
    order = EpochOrder(len(rows), size, config.seed)
    server = ParameterServer(structure, Rule.of(one, order.steps_per_epoch), double_buffered(state, 0), 0)
    whole = Span(0, 1)
    sums, other = (structure.parameters(np.zeros_like(state[0])) for _ in range(2))
    taken: list[Array] = []
    deadline = time.perf_counter() + seconds
    while len(taken) < _WARM_UP + _FEWEST_STEPS or time.perf_counter() < deadline:
        times = [time.perf_counter()]
        report = worker.compute(server.step, whole, server.weights, [sums])
        times.append(time.perf_counter())
        np.add(sums.flat, sums.flat, out=other.flat)
        times.append(time.perf_counter())
        record = server.update(server.step, [report], {whole: sums.flat})
        times.append(time.perf_counter())
        taken.append(np.diff(times))
        if record.divergence is not None:  # the run itself reports a learning rate that is too high
            break
    return Machine(*np.median(taken[_WARM_UP:] or taken, axis=0).tolist())
