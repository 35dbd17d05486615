"""Real processes and signals: exit codes and messages of a run, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from actor_processes import actors, called
from processes import HANG_SECONDS, epochs_done, folders, leftovers, nothing_left, start, wait_until

import distbp

pytestmark = pytest.mark.ray

# Small mini-batches make long epochs: the lines of epochs must not fill the pipe, which is read only at the end.
SMALL = ["--batch-size", "4", "--shards", "2"]
LONG = ["train", "digits", "--epochs", "100000", "--workers", "2", "--run-dir", "run", "--timeout", "4", *SMALL]


def has_process(pid: int, name: str) -> bool:
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if name in " ".join(process.cmdline()[:1]):
                return True
    return False


def test_a_finished_run_leaves_its_directory_and_nothing_else(tmp_path: Path) -> None:
    with nothing_left() as environment:
        process = start([*LONG, "--epochs", "3"], environment, tmp_path)
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.startswith("test accuracy 0.")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["workers"] == 2
    alone = distbp.train("digits", workers=0, epochs=3, batch_size=4, shards=2).summary
    assert summary["weights_sha256"] == alone["weights_sha256"]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.json",
        "metrics.jsonl",
        "steps.bin",
        "timeline.jsonl",
        "checkpoints",
        "model.json",
        "model.safetensors",
        "summary.json",
    }


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_an_interrupt_finishes_the_step_and_keeps_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    with nothing_left() as environment:
        process = start(LONG, environment, tmp_path)
        wait_until(lambda: epochs_done(tmp_path) >= 2, process)
        process.send_signal(number)
        err = process.communicate()[1]
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert list((tmp_path / "run" / "checkpoints").glob("step-*.safetensors"))
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("folder", signal.SIGINT),
        ("gcs_server", signal.SIGINT),
        ("raylet", signal.SIGTERM),
        ("ray::", signal.SIGINT),
    ],
)
def test_a_signal_while_ray_starts_ends_everything_at_once(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    before = folders()
    with nothing_left() as environment:
        process = start(LONG, environment, tmp_path)
        wait_until(
            lambda: bool(folders() - before) if moment == "folder" else has_process(process.pid, moment), process
        )
        process.send_signal(number)
        err = process.communicate(timeout=HANG_SECONDS)[1]
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err


@pytest.mark.long
def test_a_second_signal_does_not_shorten_the_cleanup(tmp_path: Path) -> None:
    with nothing_left() as environment:
        process = start(LONG, environment, tmp_path)
        wait_until(lambda: has_process(process.pid, "raylet"), process)
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.25)  # longer than the time in which signals count as one
        process.communicate(timeout=HANG_SECONDS)
    assert process.returncode in (130, -signal.SIGINT)  # the last signal may arrive when Python has shut down


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "number", "what"),
    [("raylet", signal.SIGKILL, "was killed (SIGKILL)"), ("gcs_server", signal.SIGSTOP, "gave no answer for 4 s")],
)
def test_a_run_whose_ray_is_lost_ends_with_a_checkpoint(
    tmp_path: Path, kind: str, number: signal.Signals, what: str
) -> None:
    with nothing_left() as environment:
        process = start(LONG, environment, tmp_path)
        wait_until(lambda: epochs_done(tmp_path) >= 2, process)
        (victim,) = called(kind, psutil.Process(process.pid))
        victim.send_signal(number)
        err = process.communicate(timeout=HANG_SECONDS)[1]
    assert process.returncode == 1, err
    *before, last = err.splitlines()
    assert last.startswith("Error: the private Ray on this machine was lost in step ")
    assert f": {kind} {what}" in last
    assert before[-1].endswith(": distbp resume run")
    assert "Traceback" not in err
    assert list((tmp_path / "run" / "checkpoints").glob("step-*.safetensors"))


FROZEN_AT_THE_END = """
import os, signal, sys
import psutil
import distbp

parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:  # an orphan, as under nohup: Ray takes that for the death of its raylet
    pass

class Freeze(distbp.Callback):
    def on_epoch_end(self, epoch):
        if epoch.epoch == 2:
            kinds = psutil.Process().children(recursive=True)
            [each.send_signal(signal.SIGSTOP) for each in kinds if each.name() == sys.argv[1]]

print(distbp.train("digits", workers=2, epochs=2, timeout=3, callbacks=[Freeze()]).summary["epochs"], flush=True)
raise ArithmeticError("what nobody catches")
"""


@pytest.mark.long
@pytest.mark.parametrize("kind", ["raylet", "gcs_server"])
def test_a_finished_run_succeeds_even_if_a_part_of_ray_is_frozen(tmp_path: Path, kind: str) -> None:
    with nothing_left() as environment:
        done = subprocess.run(
            [sys.executable, "-c", FROZEN_AT_THE_END, kind],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )
        assert done.stdout == "2\n", done.stderr
        assert done.stderr.endswith("ArithmeticError: what nobody catches\n")


@pytest.mark.long
def test_a_ray_whose_workers_die_at_once_ends_within_the_wait(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nif 'default_worker.py' in open('/proc/self/cmdline').read():\n    os._exit(1)\n"
    )
    with nothing_left() as environment:
        process = start([*LONG, "--wait", "12"], {**environment, "PYTHONPATH": str(tmp_path)}, tmp_path)
        err = process.communicate(timeout=HANG_SECONDS)[1]
    assert process.returncode == 1, err
    (line,) = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert "within 12 s (--wait)" in line
    assert "distbp doctor" in line
    assert "Traceback" not in err


@pytest.mark.long
@pytest.mark.skipif(os.getuid() != 0, reason="only root can look as another user")
def test_folders_of_a_run_are_closed_to_other_users(tmp_path: Path) -> None:
    before = folders()
    with nothing_left() as environment:
        process = start(LONG, environment, tmp_path)
        wait_until(lambda: epochs_done(tmp_path) >= 1, process)
        own = folders() - before
        look = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534); "
        look += f"print(any(os.access(folder, mode) for folder in {own!r} for mode in (os.R_OK, os.W_OK, os.X_OK)))"
        seen = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout
        modes = {folder: Path(folder).stat().st_mode & 0o777 for folder in own}
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert len(own) == 2
    assert set(modes.values()) == {0o700}
    assert seen == "False\n"


@pytest.mark.long
def test_the_next_run_removes_leftovers_after_everything_was_killed(tmp_path: Path) -> None:
    before = leftovers()
    with nothing_left() as environment:
        process = start(LONG, environment, tmp_path)
        wait_until(lambda: epochs_done(tmp_path) >= 1, process)
        everybody = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for victim in everybody:
            with suppress(psutil.NoSuchProcess):  # some end together with another
                victim.kill()
        process.communicate()
        psutil.wait_procs(everybody)
        assert leftovers() - before, "the kill should have left something to clean"
        after = start([*LONG, "--epochs", "1", "--workers", "1", "--run-dir", "next"], environment, tmp_path)
        assert after.communicate() and after.returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["_Worker", "_Server"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_actor_is_named_and_replaced_and_leaves_nothing(
    tmp_path: Path, name: str, number: signal.Signals
) -> None:
    with nothing_left() as environment:
        process = start([*LONG, "--timeout", "2"], environment, tmp_path)
        wait_until(lambda: epochs_done(tmp_path) >= 2, process)
        victim = actors(name, psutil.Process(process.pid))[0]
        victim.send_signal(number)
        wait_until(lambda: victim not in actors(name, psutil.Process(process.pid)), process)
        before = epochs_done(tmp_path)
        wait_until(lambda: epochs_done(tmp_path) > before + 5, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("note: ") and "in step" in line]
    assert ("worker " if name == "_Worker" else "the parameter server") in line
    assert ("died" if number == signal.SIGKILL else "no heartbeat") in line
    assert "to resume from step" in err
    assert "Traceback" not in err
