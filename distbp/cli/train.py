"""``distbp train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from distbp.cli.options import settings_options


@click.command()
@click.argument("data", nargs=-1, required=True)
@settings_options
@click.option("--run-dir", type=click.Path(path_type=Path), metavar="DIR",
              help="Where the run goes.  [default: runs/<time>-<data>]")  # fmt: skip
@click.pass_obj
def train(started: float, /, data: tuple[str, ...], run_dir: Path | None, **settings: Any) -> None:
    """Train a network on DATA and keep the run in a directory.

    DATA is a built-in name (digits), an .npz file or a folder with the MNIST IDX files; several files of equal
    columns are taken one after the other.

    \b
    Example:
      distbp train digits --hidden 64,32 --epochs 10 --workers 2
    """
    from distbp.cli.progress import make_progress, say
    from distbp.cli.signals import stop_on_signals
    from distbp.config import Config
    from distbp.runs.directory import default_run_directory
    from distbp.training import train as train_network

    config = Config.from_settings(settings)
    run_dir = run_dir or default_run_directory(Path(data[0]).stem)
    with stop_on_signals() as stop, make_progress() as progress:
        result = train_network(list(data), config, run_dir=run_dir, callbacks=[stop, progress], started=started)
    say(f"run kept in {run_dir}")
    for name in ("test_accuracy", "test_rmse", "test_r2"):
        if name in result.summary:
            click.echo(f"{name.replace('_', ' ')} {result.summary[name]:.4f}")
