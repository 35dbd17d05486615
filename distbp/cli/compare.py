"""``distbp verify`` and ``distbp diff``: whether a run gives the same bits again, and where two runs part."""

from __future__ import annotations

from pathlib import Path

import click

from distbp.cli.options import Bounded, WorkerCount
from distbp.errors import TrainingError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--workers", type=WorkerCount(), help="As in train.  [default: as the run had, but of one that was on a "
              "cluster only with --address]")  # fmt: skip
@click.option("--steps", type=Bounded(min=1), help="Do only the first so many steps.  [default: all]")
@click.option("--address", metavar="HOST:PORT",
              help="As in train: the Ray cluster to compute on; never taken from RUN.  [default: here]")  # fmt: skip
@click.option("--insecure", is_flag=True, help="Also a cluster on another machine that no token protects.")
def verify(
    run: Path, workers: int | str | None, steps: int | None, address: str | None, insecure: bool
) -> None:  # fmt: skip
    """Do the steps of RUN again and compare the weights after each of them with the run's log, bit for bit.

    Exit code 0 if all are equal, 1 if not.

    \b
    Example:
      distbp verify runs/20261123-181500-digits --workers 2 --steps 1000
    """
    from distbp.cli.train import shown
    from distbp.training.verify import verify as verify_run

    with shown() as callbacks:
        equal, difference = verify_run(run, workers, steps, callbacks, address=address, insecure=insecure)
    if difference is not None:
        raise TrainingError(f"{equal} steps are equal, then the run parts from {run} {difference}")
    click.echo(f"{equal} steps equal")


@click.command()
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.pass_context
def diff(ctx: click.Context, run_a: Path, run_b: Path) -> None:
    """Name the first step and layer in which RUN_A and RUN_B part, and the likely cause.

    Exit code 0 if they are equal as far as both go, 1 if they part.

    \b
    Example:
      distbp diff runs/monday runs/tuesday
    """
    from distbp.runs.comparison import compare

    found = compare(run_a, run_b)
    if found.difference is None:
        shorter, longer = sorted(found.steps)
        more = "" if shorter == longer else f"; one of them goes on to {longer}"
        click.echo(f"equal in all {shorter} steps that both have{more}")
        return
    click.echo(f"they part {found.difference}")
    for cause in found.causes:
        click.echo(cause)
    ctx.exit(1)
