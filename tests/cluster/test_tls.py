"""Ray's TLS, set up with the commands of cluster/README.md: a run on two nodes gives the same bits."""

import json
import os
import re
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from processes import HANG_SECONDS

import distbp

pytestmark = [pytest.mark.ray, pytest.mark.long]

README = Path(__file__).parents[2] / "cluster" / "README.md"
CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


@pytest.fixture
def environment(tmp_path):
    """Return the environment for TLS on this machine, made by the README's commands."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            any_socket.connect(("8.8.8.8", 80))  # sends nothing; Ray finds its nodes' addresses in this way
        except OSError as error:
            pytest.skip(f"this machine has no address that others could see: {error}")
        ip = any_socket.getsockname()[0]
    (commands,) = re.findall(r"```sh\n(openssl .*?)```", README.read_text(), re.DOTALL)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    clean |= {"HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        ["bash", "-euc", f"IP={ip}\n{commands}\nenv -0"], cwd=tmp_path, env=clean, capture_output=True, text=True
    )
    if "openssl: command not found" in done.stderr:
        pytest.skip("openssl is not installed")
    assert done.returncode == 0, done.stderr
    made = dict(each.split("=", 1) for each in done.stdout.rpartition("\0")[0].split("\0"))
    assert made["RAY_USE_TLS"] == "1"
    return made


def test_a_run_over_tls_gives_the_same_bits(environment, tmp_path):
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        address = cluster.stdout.readline().strip()
        host, _, port = address.rpartition(":")
        trusted = ssl.create_default_context(cafile=environment["RAY_TLS_CA_CERT"])
        plain = socket.create_connection((host, int(port)), timeout=10)
        with trusted.wrap_socket(plain, server_hostname=host) as wrapped:
            assert wrapped.version()
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "distbp",
                "train",
                "digits",
                "--epochs",
                "10",
                "--shards",
                "4",
                "--workers",
                "2",
                "--address",
                address,
                "--run-dir",
                "run",
            ],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )
    finally:
        cluster.communicate("\n", timeout=HANG_SECONDS)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    alone = distbp.train("digits", workers=0, epochs=10, shards=4).summary["weights_sha256"]
    assert summary["weights_sha256"] == alone
