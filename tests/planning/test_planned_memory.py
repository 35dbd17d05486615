"""The memory and traffic that a plan for this machine predicts, compared with those of a run."""

import os
import tracemalloc

import numpy as np
import pytest
from parallel.hosts import STRUCTURE, Host, config, table

import distbp
from distbp.config import Config
from distbp.data.dataset import DataSet, Rows
from distbp.parallel.host.shared_memory import Shape, SharedMemory
from distbp.parallel.step.executor import InProcessExecutor
from distbp.parallel.step.shards import Span
from distbp.parallel.step.worker import Worker
from distbp.planning.machine import plan_machine
from distbp.system.folders import memory_folder
from distbp.training.callbacks import Callback
from distbp.training.executors import initial_state
from distbp.training.setup import settle

PARAMETERS = 64 * 48 + 48 + 48 * 10 + 10
SETTINGS = {"hidden": (48,), "batch_size": 100, "shards": 5}


def taken(folder):
    """Return the bytes of the shared arrays in a folder."""
    return (folder / "arrays").stat().st_blocks * 512


@pytest.fixture
def plan(monkeypatch):
    """Return what gives the choices of a plan by workers; what they take of time is not measured."""
    monkeypatch.setattr("distbp.planning.machine._SECONDS", 0.0)
    monkeypatch.setattr("distbp.planning.machine._steps_with", lambda *given: dict.fromkeys(given[4], 1.0))

    def made(config, data):
        return {choice.workers: choice for choice in plan_machine(config, data).choices}

    return made


def classes(rows, count):
    return DataSet("rows", "classification", rows, rows, tuple(map(str, range(count))))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this platform allocates memory only when it is written")
def test_the_predicted_shared_memory_is_exactly_that_of_a_run(plan, digits, tmp_path):
    # Of five shards one of two workers has three, of which the tree adds up two; Adam keeps two vectors beside the
    # weights.
    planned, sums = plan(Config(workers=8, **SETTINGS), digits), {1: 1, 2: 2, 4: 2, 8: 2}
    assert planned[0].shared_bytes == 0
    for workers, count in sums.items():
        folder = tmp_path / str(workers)
        folder.mkdir()
        SharedMemory(folder, Shape(3, PARAMETERS, "float32", workers, count, 5, 2), create=True)
        assert planned[workers].shared_bytes == taken(folder)
        arrays = (2 * 3 + workers * count) * 4 * PARAMETERS
        assert arrays < planned[workers].shared_bytes < arrays + (1 << 20)  # and thousands of steps' records


def test_the_predicted_shared_memory_with_backup_tasks_is_exactly_that_of_a_run(tmp_path):
    shape = Shape(3, PARAMETERS, "float32", 2, 2, 5, 2)
    memory = SharedMemory(tmp_path, shape, create=True)
    if hasattr(os, "posix_fallocate"):
        assert taken(tmp_path) == shape.memory(spare=False)
    memory.reserve_spare()
    memory.slabs[shape.spare :] = 1
    assert shape.memory(spare=True) - shape.memory(spare=False) == pytest.approx(5 * 4 * PARAMETERS, abs=4096)
    if hasattr(os, "posix_fallocate"):
        assert taken(tmp_path) == shape.memory(spare=True)


@pytest.mark.ray
@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this platform allocates memory only when it is written")
def test_the_predicted_shared_memory_is_that_of_a_run_with_ray(plan, digits, shared_ray):
    class Look(Callback):
        def on_start(self, record):
            self.sizes = {
                folder: taken(folder)
                for folder in memory_folder().glob("*")
                if folder not in before and (folder / "arrays").exists()
            }

    look, before = Look(), set(memory_folder().glob("*"))
    distbp.train(digits, workers=2, epochs=1, callbacks=[look], **SETTINGS)
    assert plan(Config(workers=2, **SETTINGS), digits)[2].shared_bytes in look.sizes.values()


@pytest.mark.parametrize(("workers", "shards"), [(1, 4), (2, 4), (3, 4), (2, 5), (3, 2), (2, 16)])
def test_the_predicted_bytes_of_a_step_are_those_that_workers_read_and_write(plan, tmp_path, workers, shards):
    settings = config(shards)
    host = Host(tmp_path, workers, settings)
    try:
        host.serve_in_thread()
        for number in range(workers):
            host.work_in_thread(number)
        host.wait_for(workers)
        host.memory.slabs[:] = np.nan
        host.run(1)
        rows = np.isfinite(host.memory.slabs[: host.shape.spare]).all(axis=1)
    finally:
        host.close()
    computing = rows.reshape(workers, -1).any(axis=1).sum()
    wanted = Config(hidden=(5,), batch_size=16, shards=shards, workers=workers)
    planned = plan(wanted, classes(table(), 3))[workers]
    assert planned.step_bytes == (computing + rows.sum()) * 4 * STRUCTURE.parameter_count


@pytest.mark.parametrize("kind", ["float32", "uint8"])
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": (256, 256), "batch_size": 512, "shards": 4},
        {"hidden": (16,), "batch_size": 2048, "shards": 8},
        {"hidden": (512,), "batch_size": 512, "shards": 8, "dtype": "float64", "activation": "gelu"},
        {"hidden": (256,), "batch_size": 512, "shards": 5, "dropout": 0.5},
        {"hidden": (2048,), "batch_size": 3, "shards": 8},
    ],
)
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_predicted_memory_of_a_process_is_right_within_a_quarter(plan, kind, settings, workers):
    """The memory of Python, NumPy and Ray, and 1.5 MB that do not grow with the network, do not count."""
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (2500, 800)).astype(kind)
    rows = Rows(x, random.integers(0, 10, 2500))
    wanted, data = Config(**settings, workers=workers), classes(rows, 10)
    planned = plan(wanted, data)[workers].memory_bytes - (130 if workers else 50) * 2**20
    run, structure = settle(wanted, data, None)
    state = initial_state(structure, run)
    weights, out = (structure.parameters(np.zeros_like(state[0])) for _ in range(2))
    shards = min(run.shards, run.batch_size)
    most = Span(0, -(-shards // max(1, workers)))
    outs = [out] * shards

    def compute():
        if workers:
            worker = Worker(structure, run, rows)
            for step in range(2):
                worker.compute(step, most, weights, outs)
        else:
            list(InProcessExecutor(structure, run, rows, state).steps(2))

    compute()  # once, for what is imported
    tracemalloc.start()
    try:
        compute()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if not workers:
        planned -= state.nbytes  # which the run has brought
    assert planned == pytest.approx(peak, rel=0.25, abs=3 << 19)
