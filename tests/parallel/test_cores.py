"""The number of cores, the CPU affinity and the environment do not change a bit of a run's results."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import HANG_SECONDS, program

ROWS = 50_000


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a table so long that BLAS splits the sums over its columns."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(5)
    x = rng.normal(3.0, 17.3, (ROWS, 4))
    y = x @ rng.normal(size=4) + rng.gamma(2.0, 9.1, ROWS)
    lines = [",".join(f"{value:.5f}" for value in row) for row in np.column_stack([x, y])]
    (folder / "table.csv").write_text("\n".join(["a,b,c,d,y", *lines]) + "\n")
    return folder


def ran(command: list[str], folder: Path, threads: int | None, one_core: bool) -> None:
    """Run a command with the environment's BLAS threads, optionally on one core."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    if threads is not None:
        environment |= {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    cores = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if one_core else []
    done = subprocess.run(
        [*cores, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=HANG_SECONDS
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="there is no affinity here")
def test_a_run_on_another_number_of_cores_has_the_same_bits(table: Path) -> None:
    for name, threads, one_core in (("one", 1, False), ("two", 2, False), ("eight", 8, False), ("core", None, True)):
        ran(program("trains_on_cores", name), table, threads, one_core)
    for dtype in ("float32", "float64"):
        for name in ("two", "eight", "core"):
            for file in ("model.json", "model.safetensors"):
                expected = (table / f"one{dtype}" / file).read_bytes()
                assert (table / f"{name}{dtype}" / file).read_bytes() == expected, (name, dtype, file)
            for file, key in (
                ("config.json", "data_sha256"),
                ("summary.json", "weights_sha256"),
                ("summary.json", "linear_test_r2"),
                ("summary.json", "test_cost"),
            ):
                here, there = (json.loads((table / f"{run}{dtype}" / file).read_text())[key] for run in (name, "one"))
                assert here == there, (name, dtype, key)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="there is no affinity here")
def test_a_run_is_verified_and_resumed_on_another_number_of_cores(table: Path) -> None:
    command = [sys.executable, "-m", "distbp"]
    ran(program("trains_on_cores", "left", 4), table, 2, one_core=False)
    ran([*command, "verify", "leftfloat32"], table, None, one_core=True)
    ran([*command, "resume", "leftfloat32"], table, None, one_core=True)
    ran([*command, "verify", "leftfloat32"], table, 8, one_core=False)
