"""cluster/slurm.sh with fakes of Slurm, Ray and the training that record their calls."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from processes import HANG_SECONDS

SCRIPT = Path(__file__).parents[2] / "cluster" / "slurm.sh"

# Like the real srun, it forwards SIGTERM to its command and waits for it.
SRUN = """
while :; do case $1 in -w|--exclude) shift 2;; -*) shift;; *) break;; esac; done
"$@" & task=$!
trap 'kill $task 2>/dev/null' TERM
wait $task; code=$?
while kill -0 $task 2>/dev/null; do wait $task; code=$?; done
exit $code
"""
RAY = """
if [ "$1" = health-check ]; then
    echo asked >>"$NOTES/health"
    [ -e "$NOTES/answers" ] && [ "$(wc -l <"$NOTES/health")" -ge 2 ]; exit
fi
while [ "$1" ]; do [ "$1" = --temp-dir ] && folder=$2; shift; done
if [ "$folder" ]; then mkdir "$folder/session"; echo "$folder" >"$NOTES/named"; mv "$NOTES/named" "$NOTES/folder"; fi
[ -e "$NOTES/dies" ] && exit 1
trap 'echo ended >>"$NOTES/ray"; exit 0' TERM
while :; do sleep 0.1; done
"""
# It writes a checkpoint once its token is gone, and waits for that until it is killed.
DISTBP = """
keep() { while [ -e "$RAY_AUTH_TOKEN_PATH" ]; do sleep 0.1; done; touch "$NOTES/checkpoint"; exit 130; }
trap keep TERM
[ "$(stat -c %a "$RAY_AUTH_TOKEN_PATH")" = 600 ] && echo "$@" >"$NOTES/begins"
mv "$NOTES/begins" "$NOTES/began"
while ! [ -e "$NOTES/finish" ]; do sleep 0.1; done
"""


class Job:
    """The script as a Slurm job, in a separate session."""

    def __init__(self, folder: Path, change: Callable[[str], str] = str) -> None:
        self.notes, self.runs = folder / "notes", folder / "runs"
        programs = folder / "programs"
        for made in (self.notes, programs):
            made.mkdir()
        stubs = {
            "srun": SRUN,
            "ray": RAY,
            "distbp": DISTBP,
            "scontrol": "echo node1; echo node2",
            "hostname": "echo 127.0.0.1",
        }
        for name, words in stubs.items():
            (programs / name).write_text(f"#!/bin/bash\n{words}")
            (programs / name).chmod(0o700)
        script = SCRIPT.read_text()
        assert "/tmp/distbp-" in script
        # not in /tmp, where concurrent tests look for leftovers of their commands
        (folder / "slurm.sh").write_text(change(script.replace("/tmp/distbp-", f"{folder}/distbp-")))
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "NOTES": str(self.notes),
            "DISTBP_RUNS": str(self.runs),
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_JOB_NUM_NODES": "2",
        }
        self.command = ["bash", str(folder / "slurm.sh"), "digits", "--workers", "2"]
        self.process: subprocess.Popen[str] | None = None

    def start(self, *marks: str) -> None:
        for mark in marks:
            (self.notes / mark).touch()
        self.process = subprocess.Popen(
            self.command, env=self.environment, start_new_session=True, stderr=subprocess.PIPE, text=True
        )

    def wait_for(self, name: str) -> str:
        deadline = time.monotonic() + HANG_SECONDS
        while not (self.notes / name).exists():
            assert time.monotonic() < deadline, f"waited {HANG_SECONDS:g} s for {name}"
            time.sleep(0.02)
        return (self.notes / name).read_text()

    def ended(self) -> tuple[int, str]:
        """Wait for the script to end by itself and leave nothing behind; return its exit code and output."""
        assert self.process is not None
        _, output = self.process.communicate(timeout=HANG_SECONDS)
        assert list(self.runs.glob(".token-*")) == []
        assert not Path(self.wait_for("folder").strip()).exists()
        deadline = time.monotonic() + HANG_SECONDS
        while others := [each for each in psutil.process_iter() if self.is_ours(each)]:
            assert time.monotonic() < deadline, others
            time.sleep(0.05)
        return self.process.returncode, output

    def is_ours(self, process: psutil.Process) -> bool:
        try:
            return os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False


@pytest.fixture
def job(tmp_path):
    made = Job(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        os.killpg(made.process.pid, signal.SIGKILL)


def test_training_starts_when_ray_answers_and_leaves_nothing_behind(job):
    job.start("answers", "finish")
    assert job.ended() == (0, "")
    assert len((job.notes / "health").read_text().splitlines()) == 2
    assert job.wait_for("began").startswith("train digits --workers 2 --address 127.0.0.1:20007 --wait 120 --run-dir")


def test_a_cancelled_job_ends_by_itself_and_removes_its_token_first(job):
    job.start("answers")
    job.wait_for("began")
    os.killpg(job.process.pid, signal.SIGTERM)  # as Slurm does
    assert job.ended()[0] == 130
    assert (job.notes / "checkpoint").exists()  # so its token was gone


def test_a_signal_to_the_script_alone_reaches_the_training(tmp_path):
    """The script forwards the signal, as Slurm does not, and gives the training all the time it needs."""
    job = Job(tmp_path, lambda text: text.replace('"$train" 15', '"$train" 1').replace('"$train" 3', '"$train" 600'))
    job.start("answers")
    job.wait_for("began")
    job.process.terminate()
    assert job.ended()[0] == 130
    assert (job.notes / "checkpoint").exists()


def test_a_job_cancelled_while_ray_starts_ends(job):
    job.start()
    job.wait_for("folder")
    job.wait_for("health")
    os.killpg(job.process.pid, signal.SIGTERM)
    assert job.ended()[0] == 143


def test_the_script_does_not_wait_for_a_ray_that_has_ended(job):
    job.start("dies")
    code, output = job.ended()
    assert code == 1
    assert output == f"Ray does not answer at 127.0.0.1:20007: see {job.runs}/slurm-7.ray.log\n"
