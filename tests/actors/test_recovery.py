"""A failure changes only the duration of a run: real processes, real signals, the same hash."""

import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from actor_processes import actors
from plans import held
from processes import HANG_SECONDS, nothing_left, start, wait_until

import distbp
from distbp.runs.steplog import read_steps

pytestmark = pytest.mark.ray

SETTINGS = {"hidden": (128,), "shards": 4, "dropout": 0.2, "epochs": 4, "timeout": 2.0}


class Faults(distbp.Callback):
    """Callback that sends signals to actors at planned steps: (step, actor, signal), in the order of steps."""

    def __init__(self, *planned: tuple[int, str, signal.Signals]) -> None:
        self.planned = list(planned)
        self.sent = 0
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)

    def on_step(self, record: object) -> None:
        while self.planned and record.step >= self.planned[0][0]:
            _, name, number = self.planned[0]
            victims = actors(name)
            if not victims:  # the replacement has not started yet
                return
            del self.planned[0]
            victims[self.sent % len(victims)].send_signal(number)
            self.sent += 1


@pytest.fixture(scope="module")
def mnist():
    given = os.environ.get("DISTBP_TEST_DATA")
    folder = (Path(given) if given else Path(__file__).parents[3] / "shared" / "data") / "mnist"
    if not folder.is_dir():
        pytest.skip("no MNIST: set DISTBP_TEST_DATA to the folder that holds mnist/")
    return folder


@pytest.fixture(scope="module")
def undisturbed(mnist):
    return distbp.train(mnist, workers=0, **SETTINGS).summary["weights_sha256"]


@pytest.mark.long
@pytest.mark.usefixtures("shared_ray")
@pytest.mark.parametrize(
    ("workers", "faults"),
    [
        (2, [(300, "_Worker", signal.SIGKILL)]),
        (2, [(300, "_Worker", signal.SIGSTOP)]),
        (2, [(300, "_Server", signal.SIGKILL)]),
        (2, [(300, "_Server", signal.SIGSTOP)]),
        (1, [(300, "_Worker", signal.SIGKILL), (600, "_Server", signal.SIGKILL), (900, "_Worker", signal.SIGSTOP)]),
        ("1..3", [(100 * n, "_Worker", signal.SIGKILL) for n in range(1, 18)]),
    ],
    ids=["worker killed", "worker frozen", "server killed", "server frozen", "one worker", "come and go"],
)
def test_a_lost_actor_does_not_change_the_result(mnist, undisturbed, workers, faults):
    callback = Faults(*faults)
    result = distbp.train(mnist, workers=workers, callbacks=[callback], **SETTINGS)
    assert result.summary["weights_sha256"] == undisturbed
    assert callback.sent == len(faults)
    # A frozen actor may remain unnoticed until the end; the loss of one that is still starting does not count.
    killed = sum(number == signal.SIGKILL for _, _, number in faults)
    assert killed // 2 <= result.summary["recoveries"] <= len(faults)


@pytest.mark.long
@pytest.mark.usefixtures("shared_ray")
def test_twenty_kills_at_random_moments_do_not_change_the_result(mnist, undisturbed):
    chance = random.Random(5)
    steps = sorted(chance.sample(range(20, 1500), 20))
    callback = Faults(*[(step, chance.choice(["_Worker", "_Server"]), signal.SIGKILL) for step in steps])
    result = distbp.train(mnist, workers=2, callbacks=[callback], **SETTINGS)
    assert callback.sent == 20
    assert result.summary["weights_sha256"] == undisturbed
    assert result.summary["recoveries"] >= 10  # some kills hit an actor that is still starting


# Many small mini-batches, so that the driver is killed within an epoch.
SMALL = {"batch_size": 4, "shards": 4, "hidden": (32,), "dropout": 0.2, "epochs": 3}
OPTIONS = ["--batch-size", "4", "--shards", "4", "--hidden", "32", "--dropout", "0.2", "--epochs", "3"]


@pytest.mark.parametrize(
    ("before", "after"), [("2", "1"), pytest.param("0", "2", marks=pytest.mark.long)], ids=["fewer", "more"]
)
def test_a_run_of_a_killed_driver_resumes_with_another_number_of_workers(tmp_path, before, after):
    run, is_held = tmp_path / "run", tmp_path / "held"
    with nothing_left() as environment:
        begun = ["train", "digits", *OPTIONS, "--checkpoint-seconds", "0.02", "--workers", before, "--run-dir", "run"]
        process = start(begun, held(environment, is_held), tmp_path)
        wait_until(is_held.exists, process)
        driver = psutil.Process(process.pid)
        ours, children = actors("_Worker", driver) + actors("_Server", driver), driver.children(recursive=True)
        assert len(ours) == (int(before) + 1 if before != "0" else 0)
        driver.kill()
        process.communicate()
        assert not psutil.wait_procs(ours, timeout=HANG_SECONDS)[1]
        for agent in children:  # Ray's agents take half a minute to notice the loss of their Ray
            with suppress(psutil.NoSuchProcess):
                agent.kill()
        resumed = start(["resume", "run", "--workers", after], environment, tmp_path)
        out, err = resumed.communicate()
        assert resumed.returncode == 0, err
        assert "Traceback" not in err
        again = start(["resume", "run"], environment, tmp_path)
        assert again.communicate()[0] == out
        assert again.returncode == 0
    summary = json.loads((run / "summary.json").read_text())
    assert summary["weights_sha256"] == distbp.train("digits", workers=0, **SMALL).summary["weights_sha256"]
    assert summary["recoveries"] == 1
    records = read_steps(run).records
    assert records["step"].tolist() == list(range(3 * 360))
    assert records["rows"].reshape(3, 360).sum(axis=1).tolist() == [1437] * 3
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_no_row_is_counted_twice_or_missed(tmp_path, shared_ray):
    """With one input and no hidden layer, the cost of a mini-batch identifies its rows."""
    x = np.arange(4000, dtype=np.float32).reshape(-1, 1) / 4000
    settings = {"hidden": (), "epochs": 8, "batch_size": 64, "shards": 4, "task": "regression", "seed": 3}
    distbp.train((x, x), run_dir=tmp_path / "alone", workers=0, **settings)
    faults = Faults(*[(40 * n, ["_Worker", "_Server"][n % 2], signal.SIGKILL) for n in range(1, 9)])
    distbp.train((x, x), run_dir=tmp_path / "disturbed", workers=2, callbacks=[faults], **settings)
    one, other = (read_steps(tmp_path / name).records for name in ("alone", "disturbed"))
    assert one.tobytes() == other.tobytes()
    assert faults.sent == 8


def test_resume_refuses_other_data_and_other_settings(tmp_path):
    x, y = np.random.default_rng(0).random((300, 4)), np.arange(300) % 3
    np.savez(tmp_path / "data.npz", X=x, y=y)
    program = [sys.executable, "-m", "distbp"]
    begun = [
        "train",
        "data.npz",
        "--workers",
        "0",
        "--epochs",
        "1000000",
        "--run-dir",
        "run",
        "--checkpoint-seconds",
        "0.1",
    ]

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*program, *arguments], cwd=tmp_path, capture_output=True, text=True)

    process = subprocess.Popen([*program, *begun], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(list((tmp_path / "run" / "checkpoints").glob("step-*"))) >= 2, process)
    process.kill()
    process.communicate()
    np.savez(tmp_path / "data.npz", X=x + 1, y=y)
    done = run("resume", "run")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the data are not the same" in done.stderr
    np.savez(tmp_path / "data.npz", X=x, y=y)
    done = run(*begun, "--resume", "auto", "--lr", "0.5")
    assert done.returncode == 1
    assert "lr is 0.5, was 0.001" in done.stderr
    assert "--force" in done.stderr
    assert run(*begun).returncode == 2
    done = run(*begun, "--resume", "auto", "--hidden", "3")
    assert "another network" in done.stderr
    short = [*begun[:5], "1", *begun[6:]]
    done = run(*short, "--resume", "auto", "--force")
    assert "Traceback" not in done.stderr
