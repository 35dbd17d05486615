"""``distbp report``: runs as one page for a browser."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import click

from distbp.errors import UsageError


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the page there.  [default: report.html; with --watch nowhere]")  # fmt: skip
@click.option("--watch", "watched", is_flag=True,
              help="Serve the page on 127.0.0.1 and follow a run that is going on, until Ctrl-C.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="PORT",
              help="With --watch: serve there.  [default: a free one]")  # fmt: skip
def report(runs: tuple[Path, ...], out: Path | None, watched: bool, port: int) -> None:
    """Make one page of one or several RUNS: curves, layers, where the time goes, mistakes, settings, how to repeat it.

    The page is one file that needs no network. It prints where it is.

    \b
    Example:
      distbp report runs/20261123-181500-digits -o report.html
      distbp report runs/20261123-181500-digits --watch
    """
    from distbp.cli.streams import say
    from distbp.report import page_data, watch, write_page

    if port and not watched:
        raise UsageError("--port belongs to --watch")
    if out is not None and out.is_dir():
        raise UsageError(f"-o {out} is a folder: name a file in it, such as {out / 'report.html'}")
    if watched:
        with watch(runs, port) as address:
            say("Ctrl-C ends it")
            click.echo(address)
            _until_interrupted()
    if out is not None or not watched:
        out = out or Path("report.html")
        write_page(out, page_data(runs))
        click.echo(out)


def _until_interrupted() -> None:
    """Wait for Ctrl-C, or for SIGTERM where a script has started this in the background, with SIGINT ignored."""
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
