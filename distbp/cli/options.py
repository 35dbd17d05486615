"""Options that turn into settings, and the file that may hold the same settings."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from distbp.config import CHOICES
from distbp.errors import UsageError, unknown_name


class LayerSizes(click.ParamType[tuple[int, ...]]):
    """``512,512`` as (512, 512), ``none`` as ()."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the sizes; a list from a settings file is taken as it is."""
        if isinstance(value, list | tuple):
            return tuple(value)
        if str(value).strip() == "none":
            return ()
        try:
            return tuple(int(size) for size in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of layer sizes such as 512,512", param, ctx)


class WorkerCount(click.ParamType[int | str]):
    """``auto``, a number of at least 0, or a range such as 2..6."""

    name = "workers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return the number, or the text of what is none."""
        if value == "auto" or ".." in str(value):
            return str(value)
        try:
            count = int(value)
        except (TypeError, ValueError):
            count = -1
        if count < 0:
            self.fail(f"{value!r} is neither a number of at least 0, nor auto, nor a range such as 2..6", param, ctx)
        return count


def _named(setting: str) -> str:
    return "|".join(CHOICES[setting])


def read_settings(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Make the settings of a TOML file the command's defaults, so that options win over it."""
    if path is None:
        return
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is not TOML: {error}") from error
    known = {option.name: option for option in ctx.command.params if isinstance(option, click.Option) and option.name}
    known.pop("config_file")
    ctx.default_map = {}
    for name, value in settings.items():
        option = known.get(name.replace("-", "_"))
        if option is None or option.name is None:
            raise unknown_name(f"setting in {path}", name, known)
        if type(value) not in _toml_types(option):
            raise UsageError(f"{name} in {path} cannot be {value!r}")
        ctx.default_map[option.name] = value


def _toml_types(option: click.Option) -> tuple[type, ...]:
    """Return the types that a setting may have in a file, where click would convert almost anything."""
    if option.is_flag:
        return (bool,)
    if isinstance(option.type, LayerSizes):
        return list, str
    if isinstance(option.type, click.FloatRange):
        return int, float
    if isinstance(option.type, WorkerCount):
        return int, str
    return (int,) if isinstance(option.type, click.IntRange) else (str,)


_COUNT = click.IntRange(min=1)
_ABOVE_0 = click.FloatRange(min=0, min_open=True)

_SETTINGS = (
    click.option("--hidden", type=LayerSizes(), default="128", show_default=True, metavar="SIZES",
                 help="Nodes of each hidden layer, as 512,512; or none."),
    click.option("--activation", metavar="NAME", default="relu", show_default=True,
                 help=f"Of the hidden layers: {_named('activation')}."),
    click.option("--output", metavar="NAME", help=f"Of the output layer: {_named('output')}.  [default: by cost]"),
    click.option("--cost", metavar="NAME", help=f"{_named('cost')}.  [default: by task]"),
    click.option("--initial", metavar="NAME",
                 help=f"Initial weights: {_named('initial')}.  [default: he for relu, else glorot]"),
    click.option("--dtype", metavar="NAME", default="float32", show_default=True,
                 help=f"Arithmetic: {_named('dtype')}."),
    click.option("--optimizer", metavar="NAME", default="adam", show_default=True, help=f"{_named('optimizer')}."),
    click.option("--lr", type=_ABOVE_0, help="Step size.  [default: adam 0.001, sgd 0.1]"),
    click.option("--momentum", type=click.FloatRange(0, 1, max_open=True),
                 help="Share of the last update that is kept, for sgd.  [default: 0.9]"),
    click.option("--nesterov", is_flag=True, help="Look ahead along the momentum, for sgd."),
    click.option("--batch-size", type=_COUNT, default=128, show_default=True, help="Rows per mini-batch."),
    click.option("--epochs", type=_COUNT, default=20, show_default=True, help="Passes over the training data."),
    click.option("--dropout", type=click.FloatRange(0, 0.99), default=0.0, show_default=True,
                 help="Share of the hidden nodes that each step leaves out."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Fixes everything random."),
    click.option("--task", metavar="NAME", help=f"{_named('task')}.  [default: guessed from the targets]"),
    click.option("--test-fraction", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.2,
                 show_default=True, help="Share of rows held out where the data have no test part."),
    click.option("--workers", type=WorkerCount(), default="auto", show_default=True,
                 help="Ray workers; 0 computes in this process, without Ray; auto measures which is quicker; 2..6 "
                      "begins with 2 and takes up to 6 as they come. Never changes the result."),
    click.option("--shards", type=_COUNT,
                 help="Parts of a mini-batch, the unit of computation; part of the result. More shards than workers "
                      "cost time: with 2 workers 4 shards about 8 %, 8 shards 23 %.  "
                      "[default: largest power of two up to 4 that leaves 64 rows per shard]"),
    click.option("--threads", type=_COUNT, default=1, show_default=True, help="BLAS threads per shard; part of the "
                 "result."),
    click.option("--timeout", type=_ABOVE_0, default=10.0, show_default=True, metavar="SECONDS",
                 help="When a silent peer counts as lost."),
    click.option("--wait", type=_ABOVE_0, default=60.0, show_default=True, metavar="SECONDS",
                 help="How long to wait for the cluster's resources."),
    click.option("--checkpoint-seconds", type=_ABOVE_0, default=30.0, show_default=True, metavar="SECONDS",
                 help="Between checkpoints within an epoch; each epoch ends with one in any case."),
    click.option("--address", metavar="HOST:PORT",
                 help="An existing Ray cluster, or auto.  [default: a private one on this machine]"),
)  # fmt: skip


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add every option that is a setting of a run."""
    for option in reversed(_SETTINGS):
        command = option(command)
    return click.option(
        "--config", "config_file", type=click.Path(path_type=Path), is_eager=True, expose_value=False,
        callback=read_settings, metavar="FILE.toml", help="The same settings from a file; options win over it.",
    )(command)  # fmt: skip
