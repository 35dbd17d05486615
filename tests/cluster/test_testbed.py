"""A cluster of two hosts and a laptop, in network namespaces: jobs, tokens, and a host that is cut off."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import distbp

TESTBED = Path(__file__).parents[2] / "scripts" / "testbed"

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        os.environ.get("DISTBP_TESTBED") != "1", reason="set DISTBP_TESTBED=1 to use network namespaces"
    ),
]


class Cluster:
    def __init__(self, folder):
        self.folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environment = clean | {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0", "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }  # fmt: skip

    def on(self, host, *command, **changed):
        environment = {name: value for name, value in (self.environment | changed).items() if value is not None}
        return subprocess.run(
            [TESTBED, "exec", host, *command],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=200,
        )

    def distbp(self, *arguments, **changed):
        return self.on("h3", sys.executable, "-m", "distbp", *arguments, **changed)

    def join(self, host, number):
        done = self.on(host, "ray", "start", "--address", "10.77.0.1:6379", "--node-ip-address", f"10.77.0.{number}",
                       "--num-cpus", "2", "--temp-dir", f"/tmp/distbp-test-{os.getpid()}-{host}")  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("aiohttp", reason="distbp[cluster] is not installed")
    up = subprocess.run([TESTBED, "up", "3"], capture_output=True, text=True)
    if up.returncode:
        pytest.skip(f"no testbed here: {up.stderr.strip()}")
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        done = made.on("h1", "ray", "start", "--head", "--node-ip-address", "10.77.0.1", "--port", "6379",
                       "--num-cpus", "2", "--dashboard-host", "10.77.0.1",
                       "--temp-dir", f"/tmp/distbp-test-{os.getpid()}-h1")  # fmt: skip
        assert done.returncode == 0, done.stderr
        made.join("h2", 2)
        yield made
    finally:
        subprocess.run([TESTBED, "down"], check=True)
        for folder in Path("/tmp").glob(f"distbp-test-{os.getpid()}-*"):
            shutil.rmtree(folder, ignore_errors=True)


ADDRESS = ("--address", "http://10.77.0.1:8265")
SETTINGS = {"epochs": 300, "shards": 4}
OPTIONS = ("--epochs", "300", "--shards", "4", "--checkpoint-seconds", "0.5", "--timeout", "4")


@pytest.fixture(scope="module")
def alone():
    return distbp.train("digits", workers=0, **SETTINGS).summary["weights_sha256"]


def fetched(cluster, job, name):
    done = cluster.distbp("fetch", job, *ADDRESS, "-o", name)
    assert done.returncode == 0, done.stderr
    return json.loads((cluster.folder / name / "summary.json").read_text())


@pytest.mark.parametrize(
    "changed", [{"RAY_AUTH_TOKEN": None, "RAY_AUTH_MODE": None}, {"RAY_AUTH_TOKEN": "b" * 64}], ids=["none", "wrong"]
)
def test_without_its_token_nobody_is_let_in(cluster, changed):
    done = cluster.distbp("submit", *ADDRESS, "--", "train", "digits", **changed)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "refuses this token: set RAY_AUTH_TOKEN, or --token-file, to its token"
    )
    assert "Traceback" not in done.stderr


def test_a_run_comes_back_with_the_bits_of_this_machine(cluster, alone):
    done = cluster.distbp("submit", *ADDRESS, "--run-dir", "back", "--", "train", "digits", "--workers", "2", *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert json.loads((cluster.folder / "back" / "summary.json").read_text())["weights_sha256"] == alone
    assert "SUCCEEDED" in cluster.distbp("jobs", *ADDRESS).stdout


def test_a_host_that_is_cut_off_changes_nothing_but_the_time(cluster, alone):
    done = cluster.distbp("submit", *ADDRESS, "--no-follow", "--", "train", "digits", "--workers", "4", *OPTIONS)
    assert done.returncode == 0, done.stderr
    job = done.stdout.strip()
    deadline = time.monotonic() + 60
    while "epoch 20/" not in cluster.distbp("logs", job, *ADDRESS).stdout and time.monotonic() < deadline:
        time.sleep(0.2)
    subprocess.run([TESTBED, "cut", "h2"], check=True)
    try:
        said = cluster.distbp("logs", job, *ADDRESS, "--follow").stdout
    finally:
        subprocess.run([TESTBED, "mend", "h2"], check=True)
    assert "on host h2 gave no answer for 4 s (--timeout)" in said
    summary = fetched(cluster, job, "cut")
    assert summary["weights_sha256"] == alone
    assert summary["recoveries"] >= 2
