"""A private Ray starts while the process does other work, and leaves nothing behind in it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import HANG_SECONDS, nothing_left, start

pytestmark = [pytest.mark.ray, pytest.mark.long]

BUSY = """
import ctypes, json, os, threading
import numpy as np
import distbp

forks = []
count = ctypes.CFUNCTYPE(None)(lambda: forks.append(1))
ctypes.CDLL(None).__register_atfork(count, None, None, None)  # what OpenBLAS does to end its threads
before = dict(os.environ)
over = threading.Event()

def products():
    x = np.ones((600, 600))
    while not over.is_set():
        x @ x

threads = [threading.Thread(target=products)]
for thread in threads:
    thread.start()
hashes = {distbp.train("digits", workers=workers, epochs=1, shards=2).summary["weights_sha256"] for workers in (2, 0)}
over.set()
for thread in threads:
    thread.join(60)
changed = sorted(name for name in os.environ if os.environ[name] != before.get(name))
print(json.dumps({"forks": len(forks), "hashes": len(hashes), "changed": changed}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts the calls of fork handlers as glibc makes them")
def test_ray_starts_without_fork_and_without_changing_the_environment(tmp_path: Path) -> None:
    with nothing_left() as environment:
        done = subprocess.run(
            [sys.executable, "-c", BUSY],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    # the only fork, by threadpoolctl
    assert seen == {"forks": 0, "hashes": 1, "changed": [n for n in seen["changed"] if n == "KMP_DUPLICATE_LIB_OK"]}


ONE_AT_A_TIME = """
import json, os, threading
import distbp

def trained(told):
    try:
        told.append(distbp.train("digits", workers=1, epochs=1).summary["workers"])
    except distbp.DistbpError as error:
        told.append(str(error))

told, forked = [], []
threads = [threading.Thread(target=trained, args=(told,)) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
child = os.fork()
if not child:
    trained(forked)
    print(json.dumps(forked), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(json.dumps(told))
"""


def test_a_second_thread_and_a_forked_process_are_refused_with_advice(tmp_path: Path) -> None:
    with nothing_left() as environment:
        done = subprocess.run(
            [sys.executable, "-c", ONE_AT_A_TIME],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )
    assert done.returncode == 0, done.stderr
    forked, told = map(json.loads, done.stdout.splitlines())
    assert sorted(map(str, told))[0] == "1"
    assert "another thread of this process trains on Ray" in sorted(map(str, told))[1]
    assert "forked from one that used Ray" in forked[0]
    assert "workers=0" in forked[0]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table whose moments BLAS computes on all cores while Ray starts."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("table") / "table.csv"
    numbers = np.round(rng.normal(size=(50_000, 6)), 4)
    header = ",".join([*(f"c{column}" for column in range(6)), "y"])
    np.savetxt(path, np.column_stack([numbers, numbers[:, 0] > 0]), fmt="%g", delimiter=",", header=header, comments="")
    return path


def test_a_table_is_read_while_ray_starts_repeatedly(table: Path, tmp_path: Path) -> None:
    hashes = set()
    for number in range(3):
        run = tmp_path / f"run{number}"
        arguments = ["train", str(table), "--target", "y", "--epochs", "1", "--batch-size", "1024"]
        with nothing_left() as environment:
            process = start([*arguments, "--workers", "2", "--run-dir", str(run)], environment, tmp_path)
            err = process.communicate(timeout=HANG_SECONDS)[1]
        assert process.returncode == 0, err
        assert "note: starting Ray" in err
        hashes.add(json.loads((run / "summary.json").read_text())["weights_sha256"])
    assert len(hashes) == 1


def test_a_signal_while_ray_is_cleaned_up_waits_for_its_end(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from distbp.actors import ray_session
from distbp.actors.connection.private_ray import PrivateRay
signal.signal(signal.SIGTERM, lambda number, frame: print("heard", flush=True))
end = PrivateRay.end
def signalled(local):  # once the connection has ended
    os.kill(os.getpid(), signal.SIGTERM)
    end(local)
PrivateRay.end = signalled
with ray_session(None, cpus=1):
    pass
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=HANG_SECONDS
    )
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
