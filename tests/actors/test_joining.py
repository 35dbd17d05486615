"""A host joins a run while the host that should send it the state is killed: the same bits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import HANG_SECONDS

pytestmark = [pytest.mark.ray, pytest.mark.long]

PROGRAM = """
import json, sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()

import distbp
import ray
from distbp.actors.host_group import HostGroup
from distbp.actors.many_hosts import ManyHostsExecutor

going, killed, notes = [], [], []
prepare_next, nearest = ManyHostsExecutor._prepare_next, HostGroup.nearest


def prepare_next_and_tell(self, is_broken):
    going.append(1)
    try:
        return prepare_next(self, is_broken)
    finally:
        going.pop()


def nearest_but_killed(self):
    member = nearest(self)
    if going and self.newcomers and not killed:
        killed.append(member.name)
        ray.kill(member.actor)
    return member


ManyHostsExecutor._prepare_next, HostGroup.nearest = prepare_next_and_tell, nearest_but_killed


class Watch(distbp.Callback):
    def on_note(self, text):
        notes.append(text)
        print(text, file=sys.stderr)

    def on_step(self, record):
        if record.step == 30:
            cluster.add_node(num_cpus=1)

    def on_epoch_end(self, record):
        return any(" joined in step " in text for text in notes)


settings = {"shards": 3, "wait": 120.0}
joined = distbp.train("digits", workers="2..3", address=cluster.address, epochs=999999, callbacks=[Watch()], **settings)
alone = distbp.train("digits", workers=0, epochs=joined.summary["epochs"], **settings)
same = joined.summary["weights_sha256"] == alone.summary["weights_sha256"]
print(json.dumps([len(killed), joined.summary["epochs"] < 999999, joined.summary["recoveries"] >= 1, same]))
cluster.shutdown()
"""


def test_a_joining_host_gets_the_state_from_another_host_if_the_nearest_is_killed(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "disabled", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1] == "[1, true, true, true]", done.stderr[-3000:]
