"""``distbp train``, and the options and output that resume and verify share with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distbp.cli.options import settings_options
from distbp.errors import UsageError

if TYPE_CHECKING:
    from distbp.training.callbacks import Callback

_BASELINE_SCORES = ("accuracy", "rmse", "r2")

take_over_option = click.option(
    "--take-over",
    is_flag=True,
    help="Continue although another process holds the run, such as one on a host that is gone for good. That "
    "process stops if it is still alive.",
)


def progress_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for a run's output."""
    quiet = click.option("--quiet", is_flag=True, help="Show no progress and no notes, only the result and errors.")
    as_json = click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print each epoch's record on stdout, one JSON object per line; the result then goes to stderr.",
    )
    return quiet(as_json(command))


@click.command()
@click.argument("data", nargs=-1, required=True)
@settings_options
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the run to DIR.  [default: runs/<time>-<data>]",
)
@click.option(
    "--resume",
    "resume",
    type=click.Choice(["auto"]),
    help="Continue the run in --run-dir, or start one if there is none; for commands that a scheduler restarts.",
)
@click.option("--force", is_flag=True, help="With --resume: continue although data or settings differ.")
@take_over_option
@progress_options
@click.pass_obj
def train(
    started: float,
    /,
    data: tuple[str, ...],
    run_dir: Path | None,
    resume: str | None,
    force: bool,
    take_over: bool,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a network on DATA and save the run in a directory.

    DATA is a built-in name (digits), a file (.csv, .tsv, .parquet, .arff, .npy, .npz, text with any suffix, also
    gzipped) or a folder (images by class, Parquet files, the MNIST IDX files, the output of distbp prepare). Several
    files with the same columns are read one after the other.

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
        raise UsageError("--resume auto needs --run-dir: the directory of the run to continue or to start")
    if (force or take_over) and not resume:
        raise UsageError(f"{'--force' if force else '--take-over'} needs --resume auto")
    if resume and run_dir is not None and is_finished(run_dir):
        if not force:
            check_finished(run_dir, data, config)
        print_already_finished(run_dir, quiet, as_json)
        return
    chosen = default_run_directory(Path(data[0]).stem) if run_dir is None else nullcontext(run_dir)
    with run_callbacks(quiet, as_json) as callbacks, chosen as directory:
        if resume and has_checkpoint(directory):
            result = resume_run(
                directory, list(data), config, force=force, take_over=take_over, callbacks=callbacks, started=started
            )
        else:
            if resume:
                discard_unresumable(directory, Callbacks(callbacks).note, take_over)
            result = train_network(list(data), config, run_dir=directory, callbacks=callbacks, started=started)
    print_result(directory, result.summary, quiet, as_json)


@contextmanager
def run_callbacks(quiet: bool = False, as_json: bool = False) -> Iterator[list[Callback]]:
    """Yield the callbacks of a command that trains: they show the progress and stop the run on signals."""
    from distbp.cli.progress import progress_callbacks
    from distbp.cli.signals import stop_on_signals

    with stop_on_signals() as stop, progress_callbacks(quiet, as_json) as progress:
        yield [stop, *progress]


def print_result(run_dir: Path, summary: Mapping[str, Any], quiet: bool = False, as_json: bool = False) -> None:
    """Print a run's test scores, its directory and the scores of the baselines."""
    from distbp.cli.streams import echo_stderr

    if quiet and as_json:
        return
    if not quiet:
        echo_stderr(f"run saved in {run_dir}")
    for name in ("test_accuracy", "test_rmse", "test_r2"):
        if summary.get(name) is not None:  # null if the number is not finite
            click.echo(f"{name.replace('_', ' ')} {summary[name]:.4f}", err=as_json)
    baselines = [
        f"{title}: test {scores}"
        for title, name in (("constant prediction", "constant"), ("linear model", "linear"))
        if (scores := _baseline_scores(summary, name))
    ]
    if baselines and not quiet:
        echo_stderr(f"baselines: {'; '.join(baselines)}")


def _baseline_scores(summary: Mapping[str, Any], baseline: str) -> str:
    values = {name: summary.get(f"{baseline}_test_{name}") for name in _BASELINE_SCORES}
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items() if value is not None)


def print_already_finished(run_dir: Path, quiet: bool = False, as_json: bool = False) -> None:
    """Print that a run had finished before this command, and its result."""
    from distbp.cli.streams import echo_stderr
    from distbp.runs.records import read_summary

    if not quiet:
        echo_stderr(f"{run_dir} is already finished")
    print_result(run_dir, read_summary(run_dir), quiet, as_json)
