"""A job finds the Python of the host's Ray, whatever is on the PATH."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import HANG_SECONDS

from distbp.actors.connection.entrypoint import entrypoint

TOOLS = ("sh", "tr", "sed")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH folder with the tools that the shell command needs, but without Python."""
    made = tmp_path / "bin"
    made.mkdir()
    for name in TOOLS:
        (made / name).symlink_to(
            next(Path(each) / name for each in ("/bin", "/usr/bin") if (Path(each) / name).exists())
        )
    return made


def python(path: Path, has_ray: bool = True) -> Path:
    """Create a fake Python that prints its name instead of training, with or without Ray."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exit {int(not has_ray)}\necho {path.name} of {path.parent.name}: "$@"\n'
    )
    path.chmod(0o700)
    return path


def job(path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/bin/sh", "-c", entrypoint(words)],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )


def test_a_path_with_python3_alone(bare):
    python(bare / "python3")
    assert job(bare, "run", "a b", "$(id)").stdout == "python3 of bin: -m distbp.cli.cluster_job run a b $(id)\n"


def test_a_python_without_ray_is_skipped(bare):
    python(bare / "python3", has_ray=False)
    python(bare / "python")
    assert job(bare, "run").stdout == "python of bin: -m distbp.cli.cluster_job run\n"


def test_a_host_without_a_suitable_python_has_its_own_message(bare):
    done = job(bare, "run")
    assert (done.returncode, done.stdout) == (
        1,
        "Error: no Python on this host has Ray: put it on the PATH of the cluster\n",
    )


# The processes as Ray starts them: the raylet, an intermediate process, the job.
_RAYLET = """
import subprocess, sys
job = "import subprocess, sys; subprocess.run(sys.argv[1], shell=True, env={'PATH': sys.argv[2]})"
subprocess.run([sys.executable, "-c", job, *sys.argv[1:3]])
"""


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the raylet's command line is read from /proc")
@pytest.mark.parametrize("folder", ["venv", "my venv"])
def test_the_python_of_the_raylet_comes_first(bare, tmp_path, folder):
    python(bare / "python3")
    of_ray = python(tmp_path / folder / "python")
    workers = subprocess.list2cmdline([str(of_ray), "-u", "/somewhere/setup_worker.py"])  # as Ray writes it
    raylet = [sys.executable, "-c", _RAYLET, entrypoint(["run"]), str(bare)]
    raylet += ["--labels=x y", f"--python_worker_command={workers}"]
    done = subprocess.run(raylet, capture_output=True, text=True, timeout=HANG_SECONDS, env=os.environ.copy())
    assert (done.stdout, done.stderr) == (f"python of {folder}: -m distbp.cli.cluster_job run\n", "")
