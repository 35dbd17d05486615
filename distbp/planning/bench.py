"""Benchmark cases with fixed work, timed without start-up and evaluation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from distbp.config import Config
from distbp.data.dataset import DataSet
from distbp.model.network import Network, evaluate
from distbp.system.blas import one_thread
from distbp.system.limits import cpu_count
from distbp.training.executors import initial_state, make_executor, measure_in_process, median_step
from distbp.training.setup import settle

UNTIMED_STEPS = 5


@dataclass(frozen=True)
class Case:
    """A network and a mini-batch size, with ReLU, cross-entropy, float32 and SGD (learning rate 0.1, momentum 0.9)."""

    hidden: tuple[int, ...]
    batch_size: int
    steps: int
    """Number of timed steps, which take some seconds."""

    def config(self, workers: int, **settings: object) -> Config:
        """Return the case's settings; unlike in training, the number of shards follows the workers."""
        return Config.from_settings(
            {
                "hidden": self.hidden,
                "batch_size": self.batch_size,
                "optimizer": "sgd",
                "lr": 0.1,
                "initial": "he",
                "workers": workers,
                "shards": max(1, workers),
                **settings,
            }
        )


CASES: Mapping[str, Case] = {
    "tiny": Case((30,), 64, 4000),
    "small": Case((128,), 256, 2000),
    "mnist": Case((512, 512), 1024, 200),
    "wide": Case((2048, 2048), 1024, 30),
}
"""The benchmark cases by name."""


@dataclass(frozen=True)
class Measurement:
    """The result of one run of a case."""

    case: str
    samples_per_s: float
    step_ms: float
    """Median duration of a step."""
    workers: int
    shards: int
    test_accuracy: float


def faster_config(case: Case, data: DataSet, note: Callable[[str], None], **settings: object) -> Config:
    """Measure this process and one worker per core; return the case's settings for the faster one."""
    alone, structure = settle(case.config(0, **settings), data, None)
    cores = cpu_count()
    many, _ = settle(case.config(cores, **settings), data, None)
    with one_thread(alone.threads):
        state = initial_state(structure, alone)
        step = measure_in_process(structure, alone, data.train, state).step
        if cores < 2 or measure_in_process(structure, many, data.train, state).with_workers(cores) > step:
            return alone
        with make_executor(structure, many, data.train, state, note) as executor:
            return many if median_step(executor) < step else alone


def measure(name: str, config: Config, data: DataSet, steps: int, note: Callable[[str], None]) -> Measurement:
    """Train a case for a few untimed and then ``steps`` timed steps."""
    settings, structure = settle(config, data, None)
    state = initial_state(structure, settings)
    with one_thread(settings.threads), make_executor(structure, settings, data.train, state, note) as executor:
        for _ in executor.steps(UNTIMED_STEPS):
            pass
        began = time.perf_counter()
        records = list(executor.steps(UNTIMED_STEPS + steps))
        seconds = time.perf_counter() - began
        network = Network.of(structure, executor.state()[0], data.classes)
        accuracy = evaluate(network, data.test).accuracy or 0.0
    speed = sum(record.rows for record in records) / seconds
    step_ms = 1000 * statistics.median(record.seconds for record in records)
    return Measurement(name, speed, step_ms, settings.workers.most, settings.shards, accuracy)
