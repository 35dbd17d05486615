"""Text and unusable numbers are bad usage, for every numeric option of every command."""

import click
import pytest
from generated import all_commands

from distbp.cli import run
from distbp.cli.options import LayerSizes, WorkerCount, settings_options
from distbp.cli.plan import HostRange, LinkRate

NUMERIC = (click.IntRange, click.FloatRange, LayerSizes, WorkerCount, HostRange, LinkRate)
SETTINGS = {option.name for option in settings_options(lambda: None).__click_params__}
NO_NUMBERS = ["", " ", "x", "1.5.2", "0x10", "--", "nan", "-inf", "-1", "-1e400", "-" + "9" * 401]
TOO_LARGE = ["inf", "1e400", "9" * 401, "9" * 5000]

OPTIONS = [
    (name, option)
    for name, command in all_commands().items()
    for option in command.params
    if isinstance(option, click.Option) and isinstance(option.type, NUMERIC)
]


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=lambda each: getattr(each, "name", each))
def test_bad_numbers_are_bad_usage(command: str, option: click.Option, capsys: pytest.CaptureFixture[str]) -> None:
    parts = all_commands()[command].params
    arguments = [part for part in parts if isinstance(part, click.Argument) and part.required]
    given = [command, *(["digits"] * len(arguments) if option.name in SETTINGS else ["nowhere"] * len(arguments))]
    if command in ("bench", "prepare"):
        given += {"bench": ["--data", "digits"], "prepare": ["-o", "nowhere"]}[command]
    # the settings themselves check their upper limits, for files and programs as well
    for bad in NO_NUMBERS + ([] if option.name in SETTINGS else TOO_LARGE):
        code = run([*given, f"{option.opts[-1]}={bad}"], 0.0)
        out, err = capsys.readouterr()
        assert (code, out, err.count("\n")) == (2, "", 1), (bad, code, err)
