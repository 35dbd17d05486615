"""The autoscaler of a growing cluster sees the CPUs that a waiting run requests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import HANG_SECONDS

pytestmark = [pytest.mark.ray, pytest.mark.long]

SCALER = """
import sys, time
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group_table

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
print(cluster.address, flush=True)
ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
for cpus in (1, 2):
    asked = []
    while not asked or ray.cluster_resources().get("CPU", 0) < cpus - 1:
        time.sleep(0.1)
        asked = [len(group["bundles"]) for group in placement_group_table().values() if group["state"] == "PENDING"]
    print(asked, flush=True)
    sys.stdin.readline()  # the run has said what it waits for
    cluster.add_node(num_cpus=1)
sys.stdin.readline()
print([group["state"] for group in placement_group_table().values() if group["state"] != "REMOVED"], flush=True)
ray.shutdown()
cluster.shutdown()
"""


def environment(folder: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return clean | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(folder)}


def train(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "distbp", "train", "digits", "--epochs", "3", "--shards", "4", *arguments]
    return subprocess.run(
        command, env=environment(folder), cwd=folder, capture_output=True, text=True, timeout=HANG_SECONDS
    )


def train_as_it_grows(folder: Path, scaler: "subprocess.Popen[str]", *arguments: str) -> tuple[int, list[str]]:
    """Train, and let the cluster grow whenever the run notes that it waits for CPUs; return these notes."""
    command = [sys.executable, "-m", "distbp", "train", "digits", "--epochs", "3", "--shards", "4", *arguments]
    notes = []
    with subprocess.Popen(command, env=environment(folder), cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and scaler.stdin is not None
        for line in process.stderr:
            if line.startswith("note: --workers"):
                notes.append(line.rstrip())
                if len(notes) <= 2:
                    scaler.stdin.write("\n")
                    scaler.stdin.flush()
    return process.returncode, notes


def test_a_run_requests_its_cpus_and_begins_when_they_are_available(tmp_path: Path) -> None:
    scaler = subprocess.Popen(
        [sys.executable, "-c", SCALER],
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert scaler.stdout is not None
    try:
        address = scaler.stdout.readline().strip()
        code, notes = train_as_it_grows(
            tmp_path, scaler, "--workers", "2", "--address", address, "--wait", "90", "--run-dir", "grown"
        )
        assert code == 0
        what = f"note: --workers 2 needs 2 CPUs, the cluster at {address} has"
        assert notes[:2] == [
            f"{what} 0: waiting up to 90 s (--wait) for more, which an autoscaler may start",
            f"{what} 1 now",
        ]
        refused = train(tmp_path, "--workers", "3..4", "--address", address, "--wait", "20", "--run-dir", "refused")
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1] == (
            f"Error: --workers 3..4 needs 3 CPUs, the cluster at {address} has 2 after 20 s: "
            "use --workers 2 or fewer, or a longer --wait"
        )
        told, _ = scaler.communicate("\n", timeout=HANG_SECONDS)
    finally:
        scaler.kill()
        scaler.communicate()
    # One request for all CPUs, so that two runs never hold half of their CPUs each; no request remains.
    assert told.splitlines() == ["[2]", "[2]", "[]"]
    alone = train(tmp_path, "--workers", "0", "--run-dir", "alone")
    assert alone.returncode == 0, alone.stderr
    one, other = (json.loads((tmp_path / run / "summary.json").read_text()) for run in ("grown", "alone"))
    assert one["weights_sha256"] == other["weights_sha256"]
