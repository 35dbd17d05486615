import re
import shlex
from pathlib import Path

import pytest

from distbp.cli import commands

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.ray
def test_the_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert examples
    for example in examples:
        exec(example.replace("epochs=30", "epochs=3"), {})


def test_the_commands_are_the_programs() -> None:
    blocks = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    lines = [line.split("#")[0] for line in blocks.splitlines() if line.startswith("distbp ")]
    assert {shlex.split(line)[1] for line in lines} == set(commands.commands)
    for line in lines:
        name, *rest = shlex.split(line)[1:]
        commands.commands[name].make_context(name, rest).close()
