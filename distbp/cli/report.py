"""``distbp report``: an HTML page about one or several runs."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import click

from distbp.errors import UsageError


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the page to FILE.  [default: report.html; with --watch no file]",
)
@click.option(
    "--watch", "watched", is_flag=True, help="Serve the page on 127.0.0.1, updated while the runs go on, until Ctrl-C."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="PORT",
    help="With --watch: port of the page.  [default: any free port]",
)
def report(runs: tuple[Path, ...], out: Path | None, watched: bool, port: int) -> None:
    """Write a self-contained HTML report of one or several RUNS that works offline, and print its path.

    The page shows learning curves, layers, time use, mistakes on the test rows, settings and the command that repeats
    the run. With --watch the command prints the page's address.

    \b
    Example:
      distbp report runs/20261123-181500-digits -o report.html
      distbp report runs/20261123-181500-digits --watch
    """
    from distbp.cli.streams import echo_stderr
    from distbp.report import page_data, serve_page, write_page

    if port and not watched:
        raise UsageError("--port needs --watch")
    if out is not None and out.is_dir():
        raise UsageError(f"-o {out} is a folder: give a file, such as {out / 'report.html'}")
    if watched:
        with serve_page(runs, port) as address:
            echo_stderr("Ctrl-C stops the server")
            click.echo(address)
            _until_interrupted()
    if out is not None or not watched:
        out = out or Path("report.html")
        write_page(out, page_data(runs))
        click.echo(out)


def _until_interrupted() -> None:
    """Wait for Ctrl-C or SIGTERM (a script may start the command in the background, where SIGINT is ignored)."""
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
