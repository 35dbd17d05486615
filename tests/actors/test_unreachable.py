"""A firewall blocks the exchange between hosts but not Ray: the host with the state continues, with one note."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import HANG_SECONDS

pytestmark = [pytest.mark.ray, pytest.mark.long]

PROGRAM = """
import json, sys, time
from pathlib import Path
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()

import distbp
from distbp.actors import host_group
from distbp.actors.actor_base import remote
from distbp.actors.host_actor import _Host
from distbp.actors.retries import Retries

wall = Path(sys.argv[1])


class Walled(_Host):
    '''A host that reaches nobody while the wall is there.'''

    def begin(self, strategies):
        import socket

        connect = socket.create_connection

        def walled(address, *given, **named):
            if wall.exists():
                raise TimeoutError("timed out")
            return connect(address, *given, **named)

        socket.create_connection = walled
        return super().begin(strategies)


host_group.RemoteHost = remote(Walled)
unreachable = Retries.unreachable


def unreachable_for_a_second(self, node, seconds):
    '''--wait is long, so that a busy machine starts its actors in time; no test need wait for its end.'''
    pause = unreachable(self, node, seconds)
    self._unreachable[node] = self._unreachable[node][0], time.monotonic() + 1
    return pause


Retries.unreachable = unreachable_for_a_second
notes = []


class Watch(distbp.Callback):
    def on_note(self, text):
        notes.append(text)
        print(text, file=sys.stderr)
        if "is left out" in text and len(apart()) == 2:
            wall.unlink()

    def on_step(self, record):
        if record.step == 30 and self.adds:
            self.adds = False
            cluster.add_node(num_cpus=1)

    def on_epoch_end(self, record):
        return any(" joined in step " in text for text in notes)

    adds = True


def apart():
    return [text for text in notes if "is left out" in text]


settings = {"shards": 3, "wait": 120.0, "host_ports": sys.argv[2]}
found = distbp.train("digits", workers="2..3", address=cluster.address, epochs=1000000, callbacks=[Watch()], **settings)
alone = distbp.train("digits", workers=0, epochs=found.summary["epochs"], shards=3)
print(json.dumps({
    "same": found.summary["weights_sha256"] == alone.summary["weights_sha256"],
    "epochs": found.summary["epochs"],
    "lost": [text for text in notes if "no host is left" in text],
    "apart": apart(),
    "joined": sum(" joined in step " in text for text in notes),
}))
cluster.shutdown()
"""


def test_unreachable_hosts_are_left_out_and_the_run_continues(tmp_path: Path) -> None:
    wall = tmp_path / "wall"
    wall.touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "disabled", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(wall), "27000-27099"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["same"]
    assert told["lost"] == []  # the host with the state was never lost
    first, second, *_ = told["apart"]  # a third host may have tried at the same time as the second
    assert "does not reach" in first
    assert ":270" in first
    assert "timed out" in first
    assert "it is left out for 120 s" in first
    assert "--host-ports" in second
    assert told["joined"] >= 1
