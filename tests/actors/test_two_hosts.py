"""Two Ray nodes that exchange sums over TCP give the same bits, even if actors are killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import HANG_SECONDS

pytestmark = [pytest.mark.ray, pytest.mark.long]

PROGRAM = """
import json, sys
import psutil
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=2)
cluster.wait_for_nodes()

import distbp
from distbp.actors.many_hosts import ManyHostsExecutor
from distbp.data import prepare

paths = []
before = ManyHostsExecutor.__init__
ManyHostsExecutor.__init__ = lambda self, *given: (paths.append(self), before(self, *given))[1]


class Kill(distbp.Callback):
    def __init__(self):
        self.mapping = []
        self.joined, self.missed = 0, 0
        # By step, how many have joined and how many are missed: who is only getting ready, or is killed together with
        # another, is missed by nobody.
        self.planned = [(9, 0, 0, "_Worker"), (17, 0, 1, "_Host"), (60, 1, 2, "_Worker"), (90, 1, 3, "_Host")]

    def on_note(self, text):
        print(text, file=sys.stderr)
        self.joined += " joined in step " in text
        self.missed += text.endswith("others compute its shards")

    def on_step(self, record):
        if record.step == 5:
            self.mapping = [process.pid for process in psutil.process_iter() if process.pid in mine and maps(process)]
        if not self.planned:
            return
        step, joined, missed, name = self.planned[0]
        if record.step >= step and self.joined >= joined and self.missed >= missed:
            for process in psutil.process_iter():
                if process.pid in mine and name_of(process).startswith(f"ray::{name}"):
                    process.kill()
                    del self.planned[0]
                    return

    def on_epoch_end(self, record):
        return not self.planned and self.missed >= 4


class Mine:
    def __contains__(self, pid):
        return pid in {child.pid for child in psutil.Process().children(recursive=True)} | {
            process.pid for process in psutil.process_iter() if mark(process)
        }


def name_of(process):
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # since it was listed
        return ""


def maps(process):
    is_host = name_of(process).startswith("ray::_Host")
    return is_host and any(each.path.endswith("prepared/train-x.npy") for each in process.memory_maps())


def mark(process):
    try:
        return process.environ().get("DISTBP_TEST_MARK") == sys.argv[1]
    except psutil.Error:
        return False


mine = Mine()
settings = {"epochs": 20, "shards": 4, "dropout": 0.1, "timeout": 5.0}
endless = {**settings, "epochs": 1000000}
quiet = distbp.train("digits", workers=3, address=cluster.address, **settings).summary
assert paths, "the actors were all on one host"
kill = Kill()
prepare("digits", out="prepared")  # all hosts see it, and map it
disturbed = distbp.train("prepared", workers=3, address=cluster.address, callbacks=[kill], **endless).summary
partitions = distbp.train("digits", workers=3, address=cluster.address, servers=2, **settings).summary
same = []
for found in (quiet, disturbed, partitions):
    alone = distbp.train("digits", workers=0, **{**settings, "epochs": found["epochs"]}).summary
    same.append(found["weights_sha256"] == alone["weights_sha256"])
print(json.dumps([*same, len(paths), disturbed["recoveries"] >= 4, len(kill.mapping) == 2]))
assert not kill.planned
cluster.shutdown()
"""


def test_two_hosts_give_the_same_bits_even_if_actors_are_killed(tmp_path: Path) -> None:
    mark = f"two-hosts-{os.getpid()}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "disabled", "DISTBP_TEST_MARK": mark, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mark],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1] == "[true, true, true, 3, true, true]", done.stderr[-3000:]
