"""``distbp train``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distbp.cli.options import settings_options
from distbp.errors import UsageError

_COMPARED = ("accuracy", "rmse", "r2")

if TYPE_CHECKING:
    from distbp.callbacks import Callback


def shown_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what a run shows while it goes on."""
    quiet = click.option("--quiet", is_flag=True, help="Show no progress and no notes, only the result and errors.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print each epoch's record on stdout, a JSON object "
                           "on a line; the result goes to stderr then.")  # fmt: skip
    return quiet(as_json(command))


@click.command()
@click.argument("data", nargs=-1, required=True)
@settings_options
@click.option("--run-dir", type=click.Path(path_type=Path), metavar="DIR",
              help="Where the run goes.  [default: runs/<time>-<data>]")  # fmt: skip
@click.option("--resume", "resume", type=click.Choice(["auto"]), help="Go on if the run directory holds a run, else "
              "start; for commands that are run again by themselves.")  # fmt: skip
@click.option("--force", is_flag=True, help="With --resume: go on with other data or settings all the same.")
@shown_options
@click.pass_obj
def train(
    started: float, /, data: tuple[str, ...], run_dir: Path | None, resume: str | None, force: bool, quiet: bool,
    as_json: bool, **settings: Any,
) -> None:  # fmt: skip
    """Train a network on DATA and keep the run in a directory.

    DATA is a built-in name (digits), a file (.csv, .tsv, .parquet, .arff, .npy, .npz, text of any ending, also
    gzipped) or a folder (images by class, Parquet files, the MNIST IDX files, what distbp prepare made); several
    files of equal columns are taken one after the other.

    \b
    Example:
      distbp train digits --hidden 64,32 --epochs 10 --workers 2
      distbp train houses.csv --target price
    """
    from distbp.config import Config
    from distbp.keeping import forget_unbegun, is_begun, is_finished
    from distbp.runs.directory import default_run_directory
    from distbp.training import resume as resume_run
    from distbp.training import train as train_network

    config = Config.from_settings(settings)
    if resume and run_dir is None:
        raise UsageError("--resume auto needs the --run-dir that may hold a run")
    if force and not resume:
        raise UsageError("--force belongs to --resume auto")
    run_dir = run_dir or default_run_directory(Path(data[0]).stem)
    if resume and is_finished(run_dir):
        say_already_done(run_dir, quiet, as_json)
        return
    with shown(quiet, as_json) as callbacks:
        if resume and is_begun(run_dir):
            result = resume_run(run_dir, list(data), config, force=force, callbacks=callbacks, started=started)
        else:
            if resume:
                forget_unbegun(run_dir)
            result = train_network(list(data), config, run_dir=run_dir, callbacks=callbacks, started=started)
    finished(run_dir, result.summary, quiet, as_json)


@contextmanager
def shown(quiet: bool = False, as_json: bool = False) -> Iterator[list[Callback]]:
    """Return what shows a run's progress and ends it on signals."""
    from distbp.cli.progress import make_progress
    from distbp.cli.signals import stop_on_signals

    with stop_on_signals() as stop, make_progress(quiet, as_json) as progress:
        yield [stop, *progress]


def finished(run_dir: Path, summary: Mapping[str, Any], quiet: bool = False, as_json: bool = False) -> None:
    """Say what came out of a run and where it is."""
    from distbp.cli.output import say

    if quiet and as_json:
        return
    if not quiet:
        say(f"run kept in {run_dir}")
    for name in ("test_accuracy", "test_rmse", "test_r2"):
        if name in summary:
            click.echo(f"{name.replace('_', ' ')} {summary[name]:.4f}", err=as_json)
    constant, linear = (
        [
            f"{name} {summary[f'{who}_test_{name}']:.4f}"
            for name in _COMPARED
            if summary.get(f"{who}_test_{name}") is not None
        ]
        for who in ("constant", "linear")
    )
    if constant and not quiet:
        other = f"; a linear model: test {', '.join(linear)}" if linear else ""
        say(f"for comparison, always the same prediction: test {', '.join(constant)}{other}")


def say_already_done(run_dir: Path, quiet: bool = False, as_json: bool = False) -> None:
    """Say that a run has come to its end before, and what came out of it."""
    from distbp.cli.output import say
    from distbp.files import read_json
    from distbp.runs.directory import SUMMARY

    if not quiet:
        say(f"{run_dir} is finished already")
    finished(run_dir, read_json(run_dir / SUMMARY), quiet, as_json)
