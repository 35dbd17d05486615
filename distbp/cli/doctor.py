"""``distbp doctor``: whether this machine, and a cluster, are fit for runs."""

from __future__ import annotations

import sys

import click


@click.command()
@click.option("--address", metavar="HOST:PORT", help="Also look at every node of this Ray cluster; or auto.")
@click.option("--host-ports", metavar="PORTS", help="Port or range at which the nodes connect to each other, as in "
              "train.  [default: any free ones]")  # fmt: skip
@click.option("--insecure", is_flag=True, help="Also a cluster on another machine that no token protects.")
@click.pass_context
def doctor(ctx: click.Context, /, address: str | None, host_ports: str | None, insecure: bool) -> None:
    """Look at versions, BLAS, shared memory, leftovers, ports, token and clock, and at the nodes of a cluster.

    Each line is ok, a warning or an error, with what to do. Exit code 0 also with warnings, 1 with an error.

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
