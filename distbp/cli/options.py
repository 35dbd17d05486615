"""The command's options for settings, generated from their descriptions, and the file of settings (--config)."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from distbp.config import OPTIONS, DataOptions, options_of, values
from distbp.errors import RunError, UsageError, brief, unknown_name
from distbp.files.regular import read_bytes

_MOST_SETTINGS = 1 << 20
"""Largest size of a file of settings, in bytes."""


class Bounded(click.IntRange):
    """A whole number from ``min`` to ``most``."""

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
    """Sizes of layers: ``512,512`` as (512, 512), ``none`` as ()."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the sizes; a settings file may give them as a list."""
        if isinstance(value, list | tuple):
            return tuple(value)
        if str(value).strip() == "none":
            return ()
        try:
            return tuple(int(size) for size in str(value).split(","))
        except ValueError:
            self.fail(f"{brief(value)} is no list of layer sizes such as 512,512", param, ctx)


class Names(click.ParamType[Any]):
    """One name, or several names separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name, or several names as a tuple."""
        if isinstance(value, list | tuple):
            return tuple(value)
        names = tuple(name.strip() for name in str(value).split(","))
        return names if len(names) > 1 else names[0]


class ClassWeights(click.ParamType[Any]):
    """``balanced``, or ``NAME=WEIGHT,NAME=WEIGHT``."""

    name = "weights"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return ``balanced``, or the weight of each class."""
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
        """Return a number as an int, ``auto`` or a range as text."""
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


def read_settings(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Make the settings of a TOML file the defaults of the command's options."""
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
    """Return the types that a setting may have in a file; Click alone would convert almost any value."""
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


_TYPES: Mapping[type, click.ParamType[Any]] = {
    values.LayerSizes: LayerSizes(),
    values.NamePerLayer: Names(),
    values.ClassWeights: ClassWeights(),
    values.WorkerNumber: WorkerCount(),
}
"""Click's types for values that are neither numbers nor text."""

_OF_DATA = (*options_of(DataOptions), "seed", "dtype")  # the fields of distbp.data.reading.Reading


def setting_option(name: str, **changed: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the command-line option of a setting; ``changed`` replaces arguments of ``click.option``."""
    setting = OPTIONS[name]
    flag = f"--{name.replace('_', '-')}"
    arguments: dict[str, Any] = {
        "help": setting.text,
        "default": setting.default,
        "show_default": setting.default is not None,
    }
    match setting.values:
        case values.Flag():
            if setting.default is False:
                arguments = {"help": setting.text, "is_flag": True}
            else:
                flag += f"/--no-{name.replace('_', '-')}"
        case values.Columns():
            arguments = {"help": setting.text, "multiple": True, "metavar": setting.metavar}
        case _:
            arguments |= {"type": _type_of(setting.values), "metavar": setting.metavar}
    return click.option(flag, **(arguments | changed))


def _type_of(allowed: values.Values) -> click.ParamType[Any]:
    """Return Click's type for the values of a setting."""
    match allowed:
        case values.Whole():
            return click.IntRange(min=allowed.least)
        case values.Number():
            return click.FloatRange(allowed.least, allowed.most, min_open=allowed.above, max_open=allowed.below)
    return _TYPES.get(type(allowed), click.STRING)


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for reading the data and splitting it."""
    for name in reversed(OPTIONS):
        command = setting_option(name)(command) if name in _OF_DATA else command
    return command


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of all settings, and --config."""
    for name in reversed(OPTIONS):
        command = setting_option(name)(command)
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=read_settings,
        metavar="FILE.toml",
        help="File with settings; options override it.",
    )(command)
