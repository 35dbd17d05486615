"""``distbp resume``."""

from __future__ import annotations

from pathlib import Path

import click

from distbp.cli.options import WorkerCount
from distbp.cli.train import progress_options, take_over_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--workers",
    type=WorkerCount(),
    help="As in train; never changes the result.  [default: as in RUN; after a run on a cluster only with --address]",
)
@click.option("--data", multiple=True, metavar="DATA", help="Where the data are now.  [default: the paths of RUN]")
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="As in train: the Ray cluster to continue on; never taken from RUN.  [default: this machine]",
)
@click.option("--insecure", is_flag=True, help="Also accept a cluster on another machine that no token protects.")
@click.option("--force", is_flag=True, help="Continue although data or arithmetic differ; changes the result.")
@take_over_option
@progress_options
@click.pass_obj
def resume(
    started: float,
    /,
    run: Path,
    workers: int | str | None,
    data: tuple[str, ...],
    address: str | None,
    insecure: bool,
    force: bool,
    take_over: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Continue an interrupted or killed RUN from its newest intact checkpoint.

    The result is bit for bit that of an uninterrupted run, with any number of workers.

    \b
    Example:
      distbp resume runs/20261123-181500-digits --workers 2
    """
    from distbp.cli.train import print_already_finished, print_result, run_callbacks
    from distbp.runs.saved import is_finished
    from distbp.training.train import resume as resume_run

    if is_finished(run):
        print_already_finished(run, quiet, as_json)
        return
    with run_callbacks(quiet, as_json) as callbacks:
        result = resume_run(
            run,
            list(data) or None,
            workers=workers,
            address=address,
            insecure=insecure,
            force=force,
            take_over=take_over,
            callbacks=callbacks,
            started=started,
        )
    print_result(run, result.summary, quiet, as_json)
