"""Training: the algorithm from the settings and the data to a trained network, on one page."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distbp.callbacks import Callback, RunRecord
from distbp.config import Config
from distbp.data.dataset import PIXEL_FACTOR, Array, DataSet
from distbp.data.loading import Source, load, name_of
from distbp.data.order import Order
from distbp.errors import Interrupted, TrainingError, UsageError
from distbp.network import Evaluation, Network, evaluate
from distbp.nn.structure import Structure
from distbp.optim import make_optimizer
from distbp.parallel.arithmetic import fingerprint, pin_threads
from distbp.parallel.pool import Pool
from distbp.pools import initial_state, measure_here, read_while_ray_starts, slower_choice, started_pool
from distbp.problem import notes, settle, with_network
from distbp.runs.checkpoints import write_checkpoint
from distbp.runs.directory import CHECKPOINTS, RunDirectory, check_unused, made
from distbp.runs.model import weights_sha256


@dataclass(frozen=True)
class Result:
    """What a finished run gives.

    Attributes:
        network: the trained network.
        summary: what ``summary.json`` holds.
        history: what ``metrics.jsonl`` holds, one record per epoch.
        run_directory: where the run was kept, None if it was not.
    """

    network: Network
    summary: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    run_directory: Path | None


def train(
    data: Source | Sequence[Source],
    config: Config | None = None,
    *,
    network: Network | None = None,
    run_dir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    started: float | None = None,
    **settings: Any,
) -> Result:
    """Train a network by data-parallel mini-batch gradient descent.

    Args:
        data: a built-in name, a path, a pair of arrays (x, y), a loaded data set, or a list of paths.
        config: the settings; or give them by name instead (see :class:`distbp.Config`).
        network: start from this network's structure and weights (it is not changed).
        run_dir: keep the run there (it must not hold one yet); None keeps nothing.
        callbacks: told about the run while it goes on.
        started: the ``time.perf_counter()`` from which the summary's wall_seconds count; None for now.

    Raises:
        UsageError: a setting is wrong, or the run directory is taken.
        DataError: the data cannot be used.
        ClusterError: Ray cannot be reached, or has too little.
        TrainingError: the run diverged, lost a peer, or was ended by a callback.

    >>> result = train("digits", workers=0, hidden=(32,), epochs=20)
    >>> result.summary["test_accuracy"] > 0.9
    True
    """
    started = time.perf_counter() if started is None else started
    if config is not None and not isinstance(config, Config):
        raise UsageError(f"config must be a distbp.Config, found {type(config).__name__}")
    if config is not None and settings:
        raise UsageError(f"give a config or settings by name, not both: found {', '.join(settings)}")
    wanted = config or Config.from_settings(settings)
    if network is not None:
        wanted = with_network(wanted, network)
    if run_dir is not None:
        check_unused(Path(run_dir))
    sources: Sequence[Source] = data if isinstance(data, list) else [data]  # type: ignore[list-item]

    def read() -> DataSet:
        return load(
            *sources, task=wanted.task, test_fraction=wanted.test_fraction, seed=wanted.seed, dtype=wanted.dtype
        )

    with ExitStack() as stack:
        data_set = read_while_ray_starts(stack, wanted, read)
        config, structure = settle(wanted, data_set, network)
        run = _Run(structure, config, data_set, callbacks)
        for text in notes(config, data_set):
            run.note(text)
        train_rows, state = data_set.train, initial_state(structure, config, network)
        # The workers' host keeps the training rows from here on; the run must not keep a second copy.
        del data_set, data
        if run_dir is not None:
            stack.enter_context(made(Path(run_dir)))
        stack.enter_context(pin_threads(config.threads))
        if config.workers not in ("auto", 0) and config.address is None:
            run.step_here = measure_here(structure, config, train_rows, state, seconds=0.15).step
        pool = stack.enter_context(started_pool(structure, config, train_rows, state, run.note, run.steps))
        del train_rows, state
        run.config = pool.config
        if run_dir is not None:
            described: dict[str, Any] = {"data": [name_of(source) for source in sources]}
            described |= {**run.config.to_json(), "arithmetic": fingerprint()}
            run.directory = stack.enter_context(closing(RunDirectory(Path(run_dir), described)))
        run.descend(pool)
        return run.finish(pool, started)


class _Run:
    """One run: its records so far and where they are kept."""

    def __init__(self, structure: Structure, config: Config, data: DataSet, callbacks: Sequence[Callback]) -> None:
        self.structure = structure
        self.config = config
        self.test, self.classes = data.test, data.classes
        self.byte_factor = data.train.factor if data.train.x.dtype == np.uint8 else PIXEL_FACTOR
        self.train_rows = len(data.train)
        self.directory: RunDirectory | None = None
        self.callbacks = callbacks
        self.steps_per_epoch = Order(self.train_rows, config.batch_size, config.seed).steps_per_epoch
        self.history: list[dict[str, Any]] = []
        self.step_seconds: list[float] = []
        self.chosen = config.workers != "auto"
        self.step_here: float | None = None
        """Seconds per step in this process, where workers compute though nobody measured whether they should."""

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * self.steps_per_epoch

    def note(self, text: str) -> None:
        """Tell the callbacks what the user should know."""
        for callback in self.callbacks:
            callback.on_note(text)

    def descend(self, pool: Pool) -> None:
        """Do all steps of all epochs."""
        begin = RunRecord(
            self.config,
            self.structure,
            self.train_rows,
            len(self.test),
            self.steps_per_epoch,
            self.directory.path if self.directory else None,
        )
        for callback in self.callbacks:
            callback.on_start(begin)
        try:
            for epoch in range(self.config.epochs):
                self._epoch(epoch, pool)
        except TrainingError:
            self._checkpoint(pool)
            raise

    def _epoch(self, epoch: int, pool: Pool) -> None:
        rows, cost, right = 0, 0.0, 0
        began = time.perf_counter()
        with closing(pool.steps((epoch + 1) * self.steps_per_epoch)) as records:
            for record in records:
                self.step_seconds.append(record.seconds)
                rows, cost, right = rows + record.rows, cost + record.cost * record.rows, right + record.right
                asked = [callback.on_step(record) for callback in self.callbacks]
                if any(asked):
                    raise Interrupted(f"interrupted in epoch {epoch + 1}")
        seconds = time.perf_counter() - began
        if epoch == 0 and self.chosen:
            self._tell_slower_choice(rows / len(self.step_seconds))
        measured: dict[str, Any] = {"epoch": epoch + 1, "steps": pool.step, "train_cost": cost / rows}
        if self.classes:
            measured["train_accuracy"] = right / rows
        measured |= _test(evaluate(self._network(pool.state()[0]), self.test))
        measured |= {"seconds": seconds, "samples_per_second": rows / seconds, "lr": self.config.lr}
        self.history.append({name: _for_json(value) for name, value in measured.items()})
        if self.directory is not None:
            self.directory.write_metrics(self.history[-1])
        for callback in self.callbacks:
            callback.on_epoch_end(self.history[-1])

    def _tell_slower_choice(self, rows: float) -> None:
        """After the first epoch it is known what the choice of workers costs."""
        step = statistics.median(self.step_seconds)
        here = self.step_here if self.config.workers else step
        if here is not None:
            left = self.steps - self.steps_per_epoch
            text = slower_choice(self.config, round(rows), here, step, left)
            if text is not None:
                self.note(text)

    def _network(self, weights: Array) -> Network:
        return Network.of(self.structure, weights, self.classes, self.byte_factor)

    def _checkpoint(self, pool: Pool) -> None:
        """Keep the newest state, if the pool still has it."""
        if self.directory is None:
            return
        slots = make_optimizer(self.config.optimizer, self.config.momentum, self.config.nesterov).slots
        write_checkpoint(self.directory.path / CHECKPOINTS, pool.step, pool.state(), slots, self.config.to_json())

    def finish(self, pool: Pool, started: float) -> Result:
        """Return the trained network and write what a finished run leaves behind."""
        network = self._network(pool.state()[0])
        config = self.config
        seconds = sum(record["seconds"] for record in self.history)
        last = self.history[-1]
        summary = {
            **{name: last[name] for name in last if name.startswith(("train_", "test_"))},
            "epochs": len(self.history),
            "steps": pool.step,
            "workers": config.workers,
            "shards": config.shards,
            "threads": config.threads,
            "seed": config.seed,
            "samples_per_second": self.train_rows * len(self.history) / seconds,
            "step_ms": 1000 * statistics.median(self.step_seconds),
            "wall_seconds": time.perf_counter() - started,
            "recoveries": pool.recoveries,
            "weights_sha256": weights_sha256(network.weights),
        }
        path = None
        if self.directory is not None:
            path = self.directory.path
            self._checkpoint(pool)
            network.save(path)
            self.directory.write_summary(summary)
        return Result(network, summary, self.history, path)


def _test(evaluation: Evaluation) -> dict[str, Any]:
    """Return what applies to the task of an evaluation, by the names of the summary."""
    found = evaluation._asdict()
    return {f"test_{name}": found[name] for name in ("cost", "accuracy", "rmse", "r2") if found[name] is not None}


def _for_json(value: Any) -> Any:
    """Return None for a number that JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
