"""Ray's head dies in the middle of a run: the run ends with a checkpoint, and goes on with a new head."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import distbp

pytestmark = pytest.mark.ray

CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
for number in range(int(sys.argv[1])):
    cluster.add_node(num_cpus=1)
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
def cluster(folder, more_nodes) -> Iterator[subprocess.Popen[str]]:
    """A cluster whose head dies at its first line of input."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER, str(more_nodes)],
        env=environment(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.communicate("\n\n", timeout=60)


def environment(folder):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return clean | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(folder)}


@pytest.mark.parametrize("more_nodes", [0, 1], ids=["one host", "two hosts"])
def test_a_run_whose_head_is_lost_ends_well_and_goes_on_with_another(more_nodes, tmp_path):
    settings = {"epochs": 400, "shards": 4}
    options = ["--epochs", "400", "--shards", "4", "--workers", str(1 + more_nodes), "--timeout", "2"]
    run = tmp_path / "run"

    def distbp_command(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "distbp", *arguments], env=environment(tmp_path), cwd=tmp_path,
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    with cluster(tmp_path, more_nodes) as first:
        train = distbp_command("train", "digits", "--address", first.stdout.readline().strip(), *options,
                               "--run-dir", str(run))  # fmt: skip
        deadline = time.monotonic() + 60
        while not (run / "metrics.jsonl").exists():
            assert time.monotonic() < deadline, "the run did not begin"
            time.sleep(0.05)
        first.stdin.write("\n")
        first.stdin.flush()
        _, said = train.communicate(timeout=60)
    assert train.returncode == 1, said
    *before, last = said.strip().splitlines()
    assert last.startswith("Error: Ray's head at ")
    assert last.endswith(": resume on a new one with --address HOST:PORT")
    assert before[-1].endswith(f": distbp resume {run}")
    assert not [line for line in before if "GCS" in line or "Traceback" in line]
    with cluster(tmp_path, more_nodes) as second:
        resumed = distbp_command("resume", str(run), "--address", second.stdout.readline().strip())
        _, said = resumed.communicate(timeout=100)
    assert resumed.returncode == 0, said
    summary = json.loads((run / "summary.json").read_text())
    assert summary["weights_sha256"] == distbp.train("digits", workers=0, **settings).summary["weights_sha256"]
