"""A cluster of three hosts and a laptop in network namespaces: jobs, tokens, failures."""

import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from actor_processes import named
from plans import FOREVER, ending
from processes import HANG_SECONDS

import distbp

TESTBED = Path(__file__).parents[2] / "scripts" / "testbed"
ADDRESS = ("--address", "http://10.77.0.1:8265")
OPTIONS = ("--shards", "4", "--batch-size", "16", "--workers", "3", "--checkpoint-seconds", "0.5", "--timeout", "4")

pytestmark = pytest.mark.ray


class Cluster:
    def __init__(self, folder):
        self.folder = folder
        self.enough = folder / "enough"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environment = ending(clean, self.enough) | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def on(self, host, *command, **changed):
        environment = {name: value for name, value in (self.environment | changed).items() if value is not None}
        return subprocess.run(
            [TESTBED, "exec", host, *command],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )

    def distbp(self, *arguments, **changed):
        return self.on("h4", sys.executable, "-m", "distbp", *arguments, **changed)

    def start_head(self, number, *options, **changed):
        ip = f"10.77.0.{number}"
        self._start(
            f"h{number}",
            "--head",
            "--node-ip-address",
            ip,
            "--port",
            "6379",
            "--dashboard-host",
            ip,
            *options,
            **changed,
        )

    def join(self, number):
        self._start(f"h{number}", "--address", "10.77.0.1:6379", "--node-ip-address", f"10.77.0.{number}")

    def kill(self, host):
        processes = self.processes(host)
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # they end with the host's process 1
                process.kill()
        psutil.wait_procs(processes, timeout=HANG_SECONDS)

    def _start(self, host, *options, **changed):
        done = self.on(
            host, "ray", "start", *options, "--num-cpus", "1", "--object-store-memory", "100000000", **changed
        )
        assert done.returncode == 0, done.stderr

    def processes(self, host):
        done = subprocess.run(["ip", "netns", "pids", f"distbp-testbed-{host}"], capture_output=True, text=True)
        pids = {int(pid) for pid in done.stdout.split()}
        return [process for process in psutil.process_iter() if process.pid in pids]

    def submit(self):
        """Submit a run that continues until the file ``enough`` exists."""
        done = self.distbp("submit", *ADDRESS, "--no-follow", "--", "train", "digits", *OPTIONS, "--epochs", FOREVER)
        assert done.returncode == 0, done.stderr
        job = Job(self, done.stdout.strip())
        job.wait_for("epoch 2/")
        return job


class Job:
    """A job and its output, read from the head's disk, since the laptop may be cut off."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name

    @property
    def output(self):
        logs = Path("/tmp/distbp-testbed-h1").glob(f"session_2*/logs/job-driver-{self.name}.log")
        return "".join(log.read_text() for log in logs)

    def wait_for(self, text):
        """Wait for a text in the output; return the seconds until it appeared."""
        return until(lambda: text in self.output, lambda: f"{text!r} in:\n{self.output}")

    def fetched(self):
        """Wait for the end and return the summary."""
        self.wait_for("run saved in")
        until(lambda: "SUCCEEDED" in self.state(), lambda: f"SUCCEEDED, found {self.state()}")
        done = self.cluster.distbp("fetch", self.name, *ADDRESS, "-o", self.name)
        assert done.returncode == 0, done.stderr
        return json.loads((self.cluster.folder / self.name / "summary.json").read_text())

    def state(self):
        """Return its status in the list of jobs."""
        return self.cluster.distbp("jobs", *ADDRESS).stdout.split(self.name)[1].splitlines()[0]


def until(condition, what):
    """Wait for a condition; return the seconds until it was met."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < HANG_SECONDS, f"waited {HANG_SECONDS:g} s for {what()}"
        time.sleep(0.05)
    return time.monotonic() - began


def is_driver(process):
    try:
        return process.cmdline()[1:4] == ["-m", "distbp", "train"]
    except psutil.NoSuchProcess:  # since it was listed
        return False


def network(*command):
    subprocess.run([TESTBED, *command], check=True)


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory):
    """A head and another host."""
    pytest.importorskip("aiohttp", reason="distbp[cluster] is not installed")
    up = subprocess.run([TESTBED, "up", "5"], capture_output=True, text=True)
    if up.returncode:
        pytest.skip(f"no testbed here: {(up.stderr.strip().splitlines() or ['it says nothing'])[-1]}")
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.start_head(1)
        made.join(2)
        yield made
    finally:
        network("down")


@pytest.fixture(autouse=True)
def runs_go_on(two_hosts):
    """Remove the file ``enough`` of other tests, which would end this test's runs."""
    two_hosts.enough.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def cluster(two_hosts):
    """A head and two other hosts."""
    two_hosts.join(3)
    return two_hosts


class Run:
    """A run whose driver is on a host, and its output."""

    def __init__(self, cluster, host, *arguments):
        self.summary = cluster.folder / arguments[-1] / "summary.json"
        self.output = cluster.folder / f"{arguments[-1]}.output"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [
                    TESTBED,
                    "exec",
                    host,
                    sys.executable,
                    "-m",
                    "distbp",
                    "train",
                    "digits",
                    *OPTIONS,
                    "--epochs",
                    FOREVER,
                    "--address",
                    "10.77.0.1:6379",
                    *arguments,
                ],
                env=cluster.environment,
                cwd=cluster.folder,
                stderr=output,
                stdout=subprocess.DEVNULL,
            )

    def wait_for(self, text):
        """Wait for a text in the output."""

        def has_text():
            assert self.process.poll() is None or text in self.output.read_text(), self.output.read_text()
            return text in self.output.read_text()

        until(has_text, lambda: f"{text!r} in:\n{self.output.read_text()}")

    def end(self):
        """Wait for its end; return its exit code."""
        return self.process.wait(HANG_SECONDS)


def alone(epochs):
    """Return the result of the same run in one process on this machine."""
    return distbp.train("digits", workers=0, epochs=epochs, shards=4, batch_size=16).summary["weights_sha256"]


def test_two_hosts_give_the_bits_of_one_process_even_if_a_worker_is_killed(two_hosts):
    run = Run(two_hosts, "h2", "--workers", "2", "--run-dir", "on-two")
    run.wait_for("epoch 2/")
    (victim,) = named("ray::_Host", two_hosts.processes("h1"))
    victim.kill()
    run.wait_for("others compute its shards")
    two_hosts.enough.touch()
    assert run.end() == 0, run.output.read_text()
    summary = json.loads(run.summary.read_text())
    assert (summary["weights_sha256"], summary["recoveries"]) == (alone(summary["epochs"]), 1)


@pytest.mark.long
@pytest.mark.parametrize(
    "changed", [{"RAY_AUTH_TOKEN": None, "RAY_AUTH_MODE": None}, {"RAY_AUTH_TOKEN": "b" * 64}], ids=["none", "wrong"]
)
def test_a_protected_cluster_refuses_clients_without_its_token(cluster, changed):
    done = cluster.distbp("submit", *ADDRESS, "--", "train", "digits", **changed)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith("refuses this token: set RAY_AUTH_TOKEN or --token-file to its token")


@pytest.mark.long
def test_an_open_cluster_is_refused(cluster):
    cluster.start_head(5, RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN=None)
    done = cluster.distbp("submit", "--address", "http://10.77.0.5:8265", "--", "train", "digits")
    cluster.kill("h5")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "http://10.77.0.5:8265 runs code from anyone: start it with RAY_AUTH_MODE=token" in line


@pytest.mark.long
def test_a_fetched_run_has_the_bits_of_this_machine_and_no_log_has_the_token(cluster):
    done = cluster.distbp("submit", *ADDRESS, "--run-dir", "back", "--", "train", "digits", *OPTIONS, "--epochs", "20")
    assert done.returncode == 0, done.stderr
    summary = json.loads((cluster.folder / "back" / "summary.json").read_text())
    assert (summary["weights_sha256"], summary["recoveries"]) == (alone(20), 0)
    token = cluster.environment["RAY_AUTH_TOKEN"]
    assert token not in done.stderr
    logs = [path for path in Path("/tmp").glob("distbp-testbed-h*/session_2*/logs/**/*") if path.is_file()]
    logs += [path for path in cluster.folder.rglob("*") if path.is_file()]
    assert len(logs) > 30
    assert not [path for path in logs if token.encode() in path.read_bytes()]


@pytest.mark.long
def test_lost_hosts_and_a_killed_driver_change_only_the_time(cluster):
    job = cluster.submit()
    network("cut", "h4")  # the laptop, which the run does not need
    network("cut", "h2")
    try:
        noticed = job.wait_for("host h2 with 1 worker gave no answer for 4 s (--timeout)")
    finally:
        network("mend", "h2")
    joined = job.wait_for("host h2 with 1 worker joined in step")
    print(f"cut off: noticed after {noticed:.1f} s, joined {joined:.1f} s after it was mended")

    cluster.kill("h3")
    noticed = job.wait_for("host h3 with 1 worker ")
    cluster.join(3)
    joined = job.wait_for("host h3 with 1 worker joined in step")
    print(f"killed: noticed after {noticed:.1f} s, joined {joined:.1f} s after it was started again")

    (driver,) = [process for process in cluster.processes("h1") if is_driver(process)]
    driver.kill()
    resumed = job.wait_for("resumes after step")
    print(f"driver killed: goes on after {resumed:.1f} s")

    network("mend", "h4")
    cluster.enough.touch()
    summary = job.fetched()
    assert summary["weights_sha256"] == alone(summary["epochs"])


@pytest.mark.long
def test_a_run_that_lost_its_head_resumes_on_a_new_one(cluster):
    run = Run(cluster, "h2", "--workers", "2", "--run-dir", "headless")
    run.wait_for("epoch 1/")
    network("cut", "h1")
    began = time.monotonic()
    assert run.end() == 1, run.output.read_text()
    print(f"head cut off: the run ended after {time.monotonic() - began:.1f} s")
    last = run.output.read_text().strip().splitlines()[-1]
    assert last.startswith("Error: Ray's head at 10.77.0.1:6379 gave no answer for 4 s")
    cluster.kill("h2")
    cluster.start_head(2)
    cluster.enough.touch()  # so that it goes on for one epoch
    done = cluster.on(
        "h2", sys.executable, "-m", "distbp", "resume", "headless", "--address", "10.77.0.2:6379", "--workers", "1"
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(run.summary.read_text())
    assert summary["weights_sha256"] == alone(summary["epochs"])
