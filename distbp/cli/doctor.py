"""``distbp doctor``: checks of this machine and of a cluster before a run."""

from __future__ import annotations

import sys

import click


@click.command()
@click.option("--address", metavar="HOST:PORT", help="Also check every node of this Ray cluster; or auto.")
@click.option(
    "--host-ports",
    metavar="PORTS",
    help="Port or range for connections between the nodes, as in train.  [default: any free ports]",
)
@click.option("--insecure", is_flag=True, help="Also accept a cluster on another machine that no token protects.")
@click.pass_context
def doctor(ctx: click.Context, /, address: str | None, host_ports: str | None, insecure: bool) -> None:
    """Check versions, BLAS, shared memory, leftovers, ports, token, clock and, with --address, a cluster's nodes.

    Prints one line per check: ok, warning or error, and what to do. Exit code 1 if there is an error, else 0.

    \b
    Example:
      distbp doctor
      distbp doctor --address head:6379
    """
    from distbp.planning.doctor import examine

    levels = []
    for check in examine(address, insecure, host_ports):
        levels.append(check.level)
        click.echo(f"{check.level:7}  {check.what}: {check.text}")
        if check.what == "leftovers" and check.level != "ok" and sys.stdin.isatty() and sys.stdout.isatty():
            _offer_to_remove()
    if "error" in levels:
        ctx.exit(1)


def _offer_to_remove() -> None:
    from distbp.planning.doctor import memory_folders
    from distbp.system.folders import remove_leftovers

    if click.confirm("remove them now?", default=False):
        for base in memory_folders():
            for folder in remove_leftovers(base):
                click.echo(f"removed {folder}")
