"""``distbp train``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distbp.cli.options import settings_options
from distbp.errors import UsageError

_COMPARED = ("accuracy", "rmse", "r2")

if TYPE_CHECKING:
    from distbp.training.callbacks import Callback


def shown_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what a run shows while it goes on."""
    quiet = click.option("--quiet", is_flag=True, help="Show no progress and no notes, only the result and errors.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print each epoch's record on stdout, a JSON object "
                           "on a line; the result goes to stderr then.")  # fmt: skip
    return quiet(as_json(command))


take_over_option = click.option(
    "--take-over", is_flag=True, help="Go on although another process holds the run, as of a host that is gone for "
    "good; if it lives, it ends."
)  # fmt: skip


@click.command()
@click.argument("data", nargs=-1, required=True)
@settings_options
@click.option("--run-dir", type=click.Path(path_type=Path), metavar="DIR",
              help="Where the run goes.  [default: runs/<time>-<data>]")  # fmt: skip
@click.option("--resume", "resume", type=click.Choice(["auto"]), help="Go on if the run directory holds a run, else "
              "start; for commands that are run again by themselves.")  # fmt: skip
@click.option("--force", is_flag=True, help="With --resume: go on with other data or settings all the same.")
@take_over_option
@shown_options
@click.pass_obj
def train(
    started: float, /, data: tuple[str, ...], run_dir: Path | None, resume: str | None, force: bool, take_over: bool,
    quiet: bool, as_json: bool, **settings: Any,
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
    from distbp.runs.directory import default_run_directory
    from distbp.runs.saved import discard_unresumable, has_checkpoint, is_finished
    from distbp.training.callbacks import Callbacks
    from distbp.training.train import check_finished
    from distbp.training.train import resume as resume_run
    from distbp.training.train import train as train_network

    config = Config.from_settings(settings)
    if resume and run_dir is None:
        raise UsageError("--resume auto needs the --run-dir that may hold a run")
    if (force or take_over) and not resume:
        raise UsageError(f"{'--force' if force else '--take-over'} belongs to --resume auto")
    if resume and run_dir is not None and is_finished(run_dir):
        if not force:
            check_finished(run_dir, data, config)
        say_already_done(run_dir, quiet, as_json)
        return
    chosen = default_run_directory(Path(data[0]).stem) if run_dir is None else nullcontext(run_dir)
    with shown(quiet, as_json) as callbacks, chosen as place:
        if resume and has_checkpoint(place):
            result = resume_run(
                place, list(data), config, force=force, take_over=take_over, callbacks=callbacks, started=started
            )
        else:
            if resume:
                discard_unresumable(place, Callbacks(callbacks).note, take_over)
            result = train_network(list(data), config, run_dir=place, callbacks=callbacks, started=started)
    finished(place, result.summary, quiet, as_json)


@contextmanager
def shown(quiet: bool = False, as_json: bool = False) -> Iterator[list[Callback]]:
    """Return what shows a run's progress and ends it on signals."""
    from distbp.cli.progress import make_progress
    from distbp.cli.signals import stop_on_signals

    with stop_on_signals() as stop, make_progress(quiet, as_json) as progress:
        yield [stop, *progress]


def finished(run_dir: Path, summary: Mapping[str, Any], quiet: bool = False, as_json: bool = False) -> None:
    """Say what came out of a run and where it is."""
    from distbp.cli.streams import say

    if quiet and as_json:
        return
    if not quiet:
        say(f"run kept in {run_dir}")
    for name in ("test_accuracy", "test_rmse", "test_r2"):
        if summary.get(name) is not None:  # null where the number is not finite
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
    from distbp.cli.streams import say
    from distbp.runs.records import read_summary

    if not quiet:
        say(f"{run_dir} is finished already")
    finished(run_dir, read_summary(run_dir), quiet, as_json)
