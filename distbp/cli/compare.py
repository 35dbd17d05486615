"""``distbp verify`` and ``distbp diff``: bit-for-bit comparison of a run with its repetition or with another run."""

from __future__ import annotations

from pathlib import Path

import click

from distbp.cli.options import Bounded, WorkerCount
from distbp.errors import TrainingError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--workers",
    type=WorkerCount(),
    help="As in train.  [default: as in RUN; after a run on a cluster only with --address]",
)
@click.option("--steps", type=Bounded(min=1), help="Repeat only the first N steps.  [default: all]", metavar="N")
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="As in train: the Ray cluster to compute on; never taken from RUN.  [default: this machine]",
)
@click.option("--insecure", is_flag=True, help="Also accept a cluster on another machine that no token protects.")
def verify(run: Path, workers: int | str | None, steps: int | None, address: str | None, insecure: bool) -> None:
    """Repeat the steps of RUN and compare the weights after each step with the run's log, bit for bit.

    Exit code 0 if all steps are equal, 1 if not.

    \b
    Example:
      distbp verify runs/20261123-181500-digits --workers 2 --steps 1000
    """
    from distbp.cli.train import run_callbacks
    from distbp.training.verify import verify as verify_run

    with run_callbacks() as callbacks:
        equal, difference = verify_run(run, workers, steps, callbacks, address=address, insecure=insecure)
    if difference is not None:
        raise TrainingError(f"{equal} steps are equal, then this run differs from {run} {difference}")
    click.echo(f"{equal} steps equal")


@click.command()
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.pass_context
def diff(ctx: click.Context, run_a: Path, run_b: Path) -> None:
    """Print the first step and layer in which RUN_A and RUN_B differ, and the likely cause.

    Exit code 0 if all steps that both runs have are equal, 1 if not.

    \b
    Example:
      distbp diff runs/monday runs/tuesday
    """
    from distbp.runs.comparison import compare

    comparison = compare(run_a, run_b)
    if comparison.difference is None:
        shorter, longer = sorted(comparison.steps)
        more = "" if shorter == longer else f"; the longer run has {longer} steps"
        click.echo(f"equal in all {shorter} steps that both have{more}")
        return
    click.echo(f"the runs differ {comparison.difference}")
    for cause in comparison.causes:
        click.echo(cause)
    ctx.exit(1)
