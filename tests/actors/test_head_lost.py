"""A run on one or two hosts whose Ray head dies ends with a checkpoint, and resumes with another head."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from plans import FOREVER, ending
from processes import HANG_SECONDS, nothing_left, wait_until

import distbp

pytestmark = [pytest.mark.ray, pytest.mark.long]

CLUSTER = """
import sys
import time
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
if sys.argv[1] != "0":
    cluster.add_node(num_cpus=int(sys.argv[1]))
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.readline()
for head in cluster.head_node.all_processes["gcs_server"]:
    head.process.kill()
sys.stdin.readline()
for node in list(cluster.list_all_nodes):
    node.kill_all_processes(check_alive=False, allow_graceful=False)
"""


@contextmanager
def cluster(folder, more_cpus) -> Iterator[subprocess.Popen[str]]:
    """Start a cluster of one host, or two with more CPUs; a line on its stdin kills the head."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER, str(more_cpus)],
        env=environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.communicate("\n\n", timeout=HANG_SECONDS)


def environment(folder):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return clean | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(folder)}


def start(folder, *arguments):
    """Start a command whose run ends after the epoch in which the file "enough" appears."""
    return subprocess.Popen(
        [sys.executable, "-m", "distbp", *arguments],
        env=ending(environment(folder), folder / "enough"),
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def lose_head(folder, workers):
    """Train with one worker per host until the head is killed; return the run directory and stderr."""
    run = folder / f"run{workers}"
    with cluster(folder, workers - 1) as first:
        train = start(
            folder,
            "train",
            "digits",
            "--address",
            first.stdout.readline().strip(),
            "--epochs",
            FOREVER,
            "--shards",
            "4",
            "--batch-size",
            "16",
            "--workers",
            str(workers),
            "--timeout",
            "2",
            "--run-dir",
            str(run),
        )
        wait_until(lambda: has_done_an_epoch(run), train)
        first.stdin.write("\n")
        first.stdin.flush()
        _, said = train.communicate(timeout=HANG_SECONDS)
    assert train.returncode == 1, said
    return run, said


def has_done_an_epoch(run):
    metrics = run / "metrics.jsonl"
    return metrics.exists() and metrics.stat().st_size > 0


def test_a_run_interrupted_together_with_its_head_ends_soon_with_a_checkpoint(tmp_path):
    run = tmp_path / "run"
    with cluster(tmp_path, 0) as first:
        train = start(
            tmp_path,
            "train",
            "digits",
            "--address",
            first.stdout.readline().strip(),
            "--workers",
            "1",
            "--epochs",
            FOREVER,
            "--run-dir",
            str(run),
        )
        wait_until(lambda: has_done_an_epoch(run), train)
        first.stdin.write("\n")
        first.stdin.flush()
        train.send_signal(signal.SIGTERM)
        began = time.monotonic()
        _, said = train.communicate(timeout=HANG_SECONDS)
        seconds = time.monotonic() - began
    assert train.returncode == 130, said
    assert said.strip().splitlines()[-1].startswith("Error: interrupted in epoch ")
    assert f": distbp resume {run}" in said
    assert seconds < 60  # each of Ray's own calls to a lost head takes a minute


def test_runs_that_lose_their_head_end_properly_and_resume_with_another(tmp_path):
    with ThreadPoolExecutor() as both:
        ended = list(both.map(lose_head, [tmp_path] * 2, (1, 2)))
    for run, said in ended:
        *before, last = said.strip().splitlines()
        assert last.startswith("Error: Ray's head at ")
        assert last.endswith(": resume on a new one with --address HOST:PORT")
        assert before[-1].endswith(f": distbp resume {run}")
        assert not [line for line in before if "GCS" in line or "Traceback" in line]
    (tmp_path / "enough").touch()  # so that they train one more epoch
    with cluster(tmp_path, 2) as second:
        address = second.stdout.readline().strip()
        for process in [start(tmp_path, "resume", str(run), "--address", address) for run, _ in ended]:
            _, said = process.communicate(timeout=HANG_SECONDS)
            assert process.returncode == 0, said
    for run, _ in ended:
        summary = json.loads((run / "summary.json").read_text())
        alone = distbp.train("digits", workers=0, epochs=summary["epochs"], shards=4, batch_size=16).summary
        assert summary["weights_sha256"] == alone["weights_sha256"]


CALLERS = """
import sys
import time
from contextlib import suppress
import psutil
import ray
import distbp

ray.init(address="local", num_cpus=2, log_to_driver=False, logging_level="ERROR", include_dashboard=False)

class Lose(distbp.Callback):
    def on_note(self, text):
        print(text, flush=True)

    def on_epoch_end(self, epoch):
        if epoch.epoch == 2:
            rays[:] = psutil.Process().children(recursive=True)
            for each in rays:
                with suppress(psutil.NoSuchProcess):
                    if each.name() == sys.argv[1]:
                        each.kill()

rays = []
try:
    distbp.train("digits", workers=1, epochs=100000, timeout=3, wait=20, run_dir="run", callbacks=[Lose()])
except distbp.DistbpError as error:
    print(type(error).__name__, error, flush=True)
for each in rays:  # whose end is the caller's affair
    with suppress(psutil.NoSuchProcess):
        each.kill()
"""


@pytest.mark.parametrize("kind", ["gcs_server", "raylet"])
def test_a_run_on_the_callers_ray_ends_with_a_checkpoint_when_ray_is_lost(tmp_path, kind):
    with nothing_left(HANG_SECONDS) as environment:
        done = subprocess.run(
            [sys.executable, "-c", CALLERS, kind],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )
    *_, line, error = done.stdout.splitlines()
    assert line.endswith(": distbp resume run"), done.stdout
    assert error.startswith("HeadLostError Ray"), error
