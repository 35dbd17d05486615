"""``distbp resume``."""

from __future__ import annotations

from pathlib import Path

import click

from distbp.cli.options import WorkerCount
from distbp.cli.train import shown_options, take_over_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--workers", type=WorkerCount(), help="As in train; never changes the result.  [default: as before, "
              "but of a run that was on a cluster only with --address]")  # fmt: skip
@click.option("--data", multiple=True, metavar="DATA", help="Where the data are now.  [default: where they were]")
@click.option("--address", metavar="HOST:PORT",
              help="As in train: the Ray cluster to go on with; never taken from RUN.  [default: here]")  # fmt: skip
@click.option("--insecure", is_flag=True, help="Also a cluster on another machine that no token protects.")
@click.option("--force", is_flag=True, help="Go on with other data or arithmetic all the same; changes the result.")
@take_over_option
@shown_options
@click.pass_obj
def resume(
    started: float, /, run: Path, workers: int | str | None, data: tuple[str, ...], address: str | None,
    insecure: bool, force: bool, take_over: bool, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Go on with a RUN that was interrupted or killed, from its newest good checkpoint.

    The result is, bit for bit, that of a run without a break, with any number of workers.

    \b
    Example:
      distbp resume runs/20261123-181500-digits --workers 2
    """
    from distbp.cli.train import finished, say_already_done, shown
    from distbp.runs.saved import is_finished
    from distbp.training.train import resume as resume_run

    if is_finished(run):
        say_already_done(run, quiet, as_json)
        return
    with shown(quiet, as_json) as callbacks:
        result = resume_run(
            run, list(data) or None, workers=workers, address=address, insecure=insecure, force=force,
            take_over=take_over,
            callbacks=callbacks, started=started,
        )  # fmt: skip
    finished(run, result.summary, quiet, as_json)
