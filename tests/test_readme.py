import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from generated import PARTS, TOP, all_commands, part_in
from processes import HANG_SECONDS, nothing_left

FOLDERS = (".", "cluster", "distbp", "distbp/*", "scripts", "tests")
READMES = {
    str(file.relative_to(TOP)): file.read_text() for folder in FOLDERS for file in TOP.glob(f"{folder}/README.md")
}
EXAMPLES = [example for text in READMES.values() for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
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


@pytest.mark.parametrize(("file", "name", "content"), PARTS, ids=[name for _, name, _ in PARTS])
def test_generated_parts_are_up_to_date(file: str, name: str, content: Callable[[], str]) -> None:
    assert part_in(READMES[file], name) == content(), "python tests/generated.py writes them anew"


def test_links_point_to_files() -> None:
    broken = [
        f"{file}: {target}"
        for file, text in READMES.items()
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        if "://" not in target and not ((TOP / file).parent / target).exists()
    ]
    assert broken == []


def test_the_first_page_is_short() -> None:
    assert len(READMES["README.md"].splitlines()) <= 250


def test_the_commands_are_the_programs() -> None:
    blocks = "".join(re.findall(r"```sh\n(.*?)```", READMES["README.md"], re.DOTALL))
    lines = [line.split("#")[0] for line in blocks.splitlines() if line.startswith("distbp ")]
    assert {shlex.split(line)[1] for line in lines} == set(all_commands())
    for line in lines:
        name, *rest = shlex.split(line)[1:]
        all_commands()[name].make_context(name, rest).close()
