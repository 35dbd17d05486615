import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from command_help import help_in, help_of_all
from processes import HANG_SECONDS, nothing_left

from distbp.cli import commands

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
OF_TUNE = [example for example in EXAMPLES if "from ray import tune" in example]


@pytest.mark.long
@pytest.mark.ray
def test_the_python_examples_run(tmp_path: Path) -> None:
    """Each in a process of its own, since the workers of scikit-learn's search live as long as that."""
    assert EXAMPLES
    for example in EXAMPLES:
        if example not in OF_TUNE:
            (tmp_path / "example.py").write_text(example.replace("epochs=30", "epochs=3"))
            with nothing_left(HANG_SECONDS) as environment:
                done = subprocess.run(
                    [sys.executable, "-W", "error", "example.py"],
                    cwd=tmp_path,
                    env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
                    capture_output=True,
                    text=True,
                    timeout=HANG_SECONDS,
                )
            assert done.returncode == 0, example + done.stderr[-3000:]


@pytest.mark.long
@pytest.mark.ray
def test_the_example_of_ray_tune_runs(tmp_path: Path) -> None:
    """In a process of its own, since Tune starts a Ray and warns of much."""
    (example,) = OF_TUNE
    local = 'ray.init(address="local"'
    assert f"{local})" in example
    (tmp_path / "example.py").write_text(example.replace(local, f"{local}, include_dashboard=False"))
    with nothing_left(HANG_SECONDS) as environment, tempfile.TemporaryDirectory(prefix="r-", dir="/tmp") as short:
        # the address is one where no Ray is any more
        environment |= {"RAY_ADDRESS": "127.0.0.1:1", "RAY_TMPDIR": short, "HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "example.py"],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "{'lr': 0.01}" in done.stdout


def test_the_help_of_every_command_is_the_programs() -> None:
    assert help_in(README) == help_of_all(), "python tests/command_help.py brings README up to date"


def test_the_commands_are_the_programs() -> None:
    blocks = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    lines = [line.split("#")[0] for line in blocks.splitlines() if line.startswith("distbp ")]
    assert {shlex.split(line)[1] for line in lines} == set(commands.commands)
    for line in lines:
        name, *rest = shlex.split(line)[1:]
        commands.commands[name].make_context(name, rest).close()
