"""Options that turn into settings, and the file that may hold the same settings."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from distbp.config import CHOICES
from distbp.errors import RunError, UsageError, brief, unknown_name
from distbp.files.regular import read_bytes

_MOST_SETTINGS = 1 << 20
"""Bytes of a file of settings."""


class Bounded(click.IntRange):
    """A whole number of at least ``min``, and no larger than what anything could be done with."""

    def __init__(self, min: int, most: int = 1_000_000_000) -> None:
        super().__init__(min=min)
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        number: int = super().convert(value, param, ctx)
        if number > self._most:
            self.fail(f"a number of {len(str(value))} digits is more than {self._most:,}", param, ctx)
        return number


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
            self.fail(f"{brief(value)} is no list of layer sizes such as 512,512", param, ctx)


class Names(click.ParamType[Any]):
    """One name, or several with commas between them as a list."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name, or the names."""
        if isinstance(value, list | tuple):
            return tuple(value)
        names = tuple(name.strip() for name in str(value).split(","))
        return names if len(names) > 1 else names[0]


class ClassWeights(click.ParamType[Any]):
    """``balanced``, or ``NAME=WEIGHT,NAME=WEIGHT``."""

    name = "weights"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return ``balanced``, or what each class counts."""
        if value == "balanced" or isinstance(value, dict):
            return value
        weights = {}
        for part in str(value).split(","):
            name, equals, weight = part.rpartition("=")
            try:
                weights[name] = float(weight)
            except ValueError:
                equals = ""
            if not equals:
                self.fail(f"{brief(value)} is neither balanced nor a list such as yes=2,no=1", param, ctx)
        return weights


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
            what = "is neither a number of at least 0, nor auto, nor a range such as 2..6"
            self.fail(f"{brief(value)} {what}", param, ctx)
        return count


def _named(setting: str) -> str:
    return "|".join(CHOICES[setting])


def read_settings(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Make the settings of a TOML file the command's defaults, so that options win over it."""
    if path is None:
        return
    try:
        settings = tomllib.loads(read_bytes(path, _MOST_SETTINGS).decode())
    except RunError as error:
        raise UsageError(f"--config {error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--config {path} is not TOML: {error}") from error
    known = {option.name: option for option in ctx.command.params if isinstance(option, click.Option) and option.name}
    known.pop("config_file")
    ctx.default_map = {}
    for name, value in settings.items():
        option = known.get(name.replace("-", "_"))
        if option is None or option.name is None:
            raise unknown_name(f"setting in {path}", name, known)
        if type(value) not in _toml_types(option):
            raise UsageError(f"{name} in {path} cannot be {brief(value)}")
        ctx.default_map[option.name] = value


def _toml_types(option: click.Option) -> tuple[type, ...]:
    """Return the types that a setting may have in a file, where click would convert almost anything."""
    if option.is_flag:
        return (bool,)
    if option.multiple:
        return (list,)
    if isinstance(option.type, LayerSizes | Names):
        return list, str
    if isinstance(option.type, ClassWeights):
        return str, dict
    if isinstance(option.type, click.FloatRange):
        return int, float
    if isinstance(option.type, WorkerCount):
        return int, str
    return (int,) if isinstance(option.type, click.IntRange) else (str,)


_COUNT = click.IntRange(min=1)
_ABOVE_0 = click.FloatRange(min=0, min_open=True)
_SHARE = click.FloatRange(0, 1, max_open=True)

_SETTINGS = (
    click.option("--hidden", type=LayerSizes(), default="128", show_default=True, metavar="SIZES",
                 help="Nodes of each hidden layer, as 512,512; or none."),
    click.option("--activation", type=Names(), metavar="NAME", default="relu", show_default=True,
                 help=f"Of the hidden layers, one or one for each: {_named('activation')}."),
    click.option("--output", metavar="NAME", help=f"Of the output layer: {_named('output')}.  [default: by cost]"),
    click.option("--cost", metavar="NAME", help=f"{_named('cost')}. mse (without 1/2), mae and huber (delta "
                 "1) are sums over the outputs, standardised ones on tables.  [default: by task]"),
    click.option("--label-smoothing", type=_SHARE, default=0.0, show_default=True,
                 help="Share s of the target that is smoothed: cross-entropy aims at (1-s)y + s/K for K classes, "
                 "binary-cross-entropy at (1-s)y + s/2 for each node or label."),
    click.option("--class-weights", type=ClassWeights(), metavar="WEIGHTS",
                 help="Weight of each class's rows, times --weights: a list such as yes=2,no=1, or balanced, which is "
                      "rows / (classes * rows of the class).  [default: 1 each]"),
    click.option("--initial", metavar="NAME", help=f"Initial weights: {_named('initial')}; biases are 0.  "
                 "[default: glorot where each --activation is sigmoid, tanh or identity, else he]"),
    click.option("--dtype", metavar="NAME", default="float32", show_default=True,
                 help=f"Arithmetic: {_named('dtype')}."),
    click.option("--optimizer", metavar="NAME", default="adam", show_default=True, help=f"{_named('optimizer')}."),
    click.option("--lr", type=_ABOVE_0, help="Step size.  [default: sgd 0.1, adagrad 0.01, lion 0.0003, else 0.001]"),
    click.option("--momentum", type=click.FloatRange(0, 1, max_open=True),
                 help="For sgd: v := X * v - lr * gradient; w := w + v. (PyTorch's v leaves lr out: the same while lr "
                      "is.)  [default: 0.9]"),
    click.option("--nesterov", is_flag=True, help="For sgd: w := w + momentum * v - lr * gradient instead."),
    click.option("--weight-decay", type=_SHARE, help="For adamw and lion, decoupled: each step first multiplies all "
                 "parameters, biases too, by 1 - X * lr as scheduled.  [default: 0.01]"),
    click.option("--schedule", metavar="NAME", default="constant", show_default=True,
                 help="Factor of lr, share s of the run being over: constant|step (0.1 per third)|exponential (0.01^s)|"
                      "inverse-time (1/(1+9s))|cosine (to 0)|one-cycle (1/25 to 1 in 30 %, then to 4e-06)|plateau (0.5 "
                      "per 3 epochs in a row not 0.01 % below the lowest cost)."),
    click.option("--warmup", type=click.IntRange(min=0), default=0, show_default=True, metavar="STEPS",
                 help="Steps over which lr rises linearly; the schedule has those that are left."),
    click.option("--l1", type=click.FloatRange(min=0), default=0.0, show_default=True,
                 help="L1 penalty: adds X * sum(abs(w)) to the cost that is descended (biases excluded), to no "
                      "reported one."),
    click.option("--l2", type=click.FloatRange(min=0), default=0.0, show_default=True,
                 help="L2 penalty: likewise X/2 * sum(w^2); coupled: the optimizer sees it in the gradient."),
    click.option("--clip-value", type=_ABOVE_0, help="Clip each gradient element to [-X, X], after the penalties; "
                 "biases too.  [default: none]"),
    click.option("--clip-norm", type=_ABOVE_0, help="Then scale the gradient of all layers together down to norm X.  "
                 "[default: none]"),
    click.option("--max-norm", type=_ABOVE_0, help="After each step scale a node's incoming weights down to norm X, "
                 "output nodes' too, biases excluded.  [default: none]"),
    click.option("--batch-size", type=_COUNT, default=128, show_default=True, help="Rows per mini-batch."),
    click.option("--epochs", type=_COUNT, default=20, show_default=True, help="Passes over the training data."),
    click.option("--shuffle/--no-shuffle", default=True, show_default=True,
                 help="Take the rows in a new random order each epoch, or always as they stand in the data."),
    click.option("--dropout", type=click.FloatRange(0, 0.99), default=0.0, show_default=True,
                 help="Share of the hidden nodes that each step leaves out; the others are divided by 1 - X."),
    click.option("--early-stopping", type=_COUNT, metavar="EPOCHS", help="End the run after so many epochs without a "
                 "lower validation cost, with the weights of the best one.  [default: never]"),
    click.option("--validation-fraction", type=_SHARE, default=0.0, show_default=True,
                 help="Share of the training rows held out for --early-stopping (then 0.1) and --schedule plateau. "
                 "Their cost counts each row's weight, but not --class-weights or --label-smoothing."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Fixes everything random."),
    click.option("--task", metavar="NAME", help=f"{_named('task')}.  [default: guessed from the targets]"),
    click.option("--target", metavar="COLUMN", help="Column of a table to predict: its name, or its number from 0, "
                 "-1 the last.  [default: the one called target, label, class or y]"),
    click.option("--drop", metavar="COLUMN", multiple=True, help="Column of a table to leave out; may be repeated."),
    click.option("--weights", metavar="COLUMN", help="Column of a table with each row's weight: training costs are "
                 "weighted means.  [default: 1 each]"),
    click.option("--separator", metavar="CHARACTER", help="Between a table's cells in text; also comma, tab, ..  "
                 "[default: guessed]"),
    click.option("--header/--no-header", default=None, help="Whether a table's text begins with the columns' names.  "
                 "[default: guessed]"),
    click.option("--test-file", metavar="FILE", help="Table with the test rows.  [default: some of DATA are held out]"),
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
    click.option("--servers", type=_COUNT, help="Partitions of the parameters between several hosts. Never changes the "
                 "result.  [default: as many as hosts; with two hosts each adds up for itself]"),
    click.option("--host-ports", metavar="PORTS", help="Port, or range such as 7000-7099, at which the hosts of a run "
                 "reach each other; one for each run on a host.  [default: any free ones]"),
    click.option("--wire", metavar="NAME", default="exact", show_default=True,
                 help="What travels between several hosts: exact, or float16 for half the bytes, which is lossy: the "
                 "bits then depend on hosts, --servers and losses."),
    click.option("--insecure", is_flag=True, help="Also a cluster on another machine that no token protects."),
)  # fmt: skip


_OF_DATA = (
    "dtype", "validation_fraction", "seed", "task", "target", "drop", "weights", "separator", "header", "test_file",
    "test_fraction",
)  # fmt: skip


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how data are read and cut into parts."""
    for option in reversed(_SETTINGS):
        name = getattr(option(lambda: None), "__click_params__")[0].name  # noqa: B009
        command = option(command) if name in _OF_DATA else command
    return command


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add every option that is a setting of a run."""
    for option in reversed(_SETTINGS):
        command = option(command)
    return click.option(
        "--config", "config_file", type=click.Path(path_type=Path), is_eager=True, expose_value=False,
        callback=read_settings, metavar="FILE.toml", help="The same settings from a file; options win over it.",
    )(command)  # fmt: skip
