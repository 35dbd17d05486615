"""``distbp plan``: predicted cost of a run on this machine, or of a step on several hosts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from distbp.cli.options import settings_options
from distbp.errors import UsageError

if TYPE_CHECKING:
    from distbp.config import Config

_MOST_HOSTS = 4096
_BYTES_PER_SECOND = {"kbit": 1e3 / 8, "mbit": 1e6 / 8, "gbit": 1e9 / 8}


class HostRange(click.ParamType[tuple[int, int]]):
    """Converts ``1..1024`` or ``8`` to (fewest, most)."""

    name = "hosts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return the ends of the range."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([0-9]{1,5})(?:\.\.([0-9]{1,5}))?", value)
        fewest, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= fewest <= most <= _MOST_HOSTS:
            self.fail(
                f"{value!r} is neither a number of hosts from 1 to {_MOST_HOSTS} nor a range such as 1..64", param, ctx
            )
        return fewest, most


class LinkRate(click.ParamType[float]):
    """Converts ``10gbit`` or ``500mbit`` to bytes per second."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the rate in bytes per second."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kmg]bit)(?:/s)?", value.lower())
        rate = float(match[1]) * _BYTES_PER_SECOND[match[2]] if match else 0.0
        if not 0 < rate < float("inf"):
            self.fail(f"{value!r} is not a rate such as 500mbit, 1gbit or 10gbit", param, ctx)
        return rate


@click.command()
@click.argument("data", nargs=-1, required=True)
@click.option(
    "--hosts",
    type=HostRange(),
    metavar="N|A..B",
    help="Number of hosts; a range is planned at both ends and the powers of two between.  [default: this machine "
    "alone]",
)
@click.option(
    "--per-host",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Workers on each host, with --threads cores for each worker.",
)
@click.option(
    "--link",
    type=LinkRate(),
    default="1gbit",
    show_default=True,
    metavar="RATE",
    help="Bandwidth of each host's link, in each direction: 500mbit, 1gbit, 10gbit ..",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    data: tuple[str, ...],
    hosts: tuple[int, int] | None,
    per_host: int,
    link: float,
    as_json: bool,
    **settings: Any,
) -> None:
    """Predict the cost of train with these options: parameters, memory, bytes and time per step, epoch and run.

    Runs steps for about two seconds, in this process and in 1, 2 .. processes, and prints the number of workers that
    finishes the run first. --workers N measures up to N workers. With --hosts it predicts the time of a step on
    several hosts like this one: it measures the computation here and models links and messages. Without --servers it
    takes the best number of servers for each number of hosts.

    \b
    Example:
      distbp plan digits --hidden 512,512 --batch-size 1024
      distbp plan digits --hosts 1..1024 --link 10gbit --hidden 512,512 --batch-size 1024 --shards 1024
    """
    from distbp.config import Config

    config = Config.from_settings(settings)
    if hosts is not None:
        _plan_hosts(config, data, hosts, link, per_host, as_json)
        return
    for name in ("per_host", "link"):
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise UsageError(f"--{name.replace('_', '-')} needs --hosts")
    if config.address is not None:
        raise UsageError("plan measures this machine: remove --address, or give --hosts for a cluster of such machines")
    _plan_machine(config, data, as_json)


def _plan_machine(config: Config, data: tuple[str, ...], as_json: bool) -> None:
    from distbp.cli.plan_output import machine_json, machine_lines
    from distbp.data.loading import load_as
    from distbp.data.reading import Reading
    from distbp.planning.machine import plan_machine

    machine_plan = plan_machine(config, load_as(data, Reading.of(config)))
    click.echo(json.dumps(machine_json(machine_plan)) if as_json else "\n".join(machine_lines(machine_plan)))


def _plan_hosts(
    config: Config, data: tuple[str, ...], hosts: tuple[int, int], link: float, per_host: int, as_json: bool
) -> None:
    from distbp.cli.plan_output import hosts_json, hosts_lines
    from distbp.data.loading import load_as
    from distbp.data.reading import Reading
    from distbp.parallel.mesh.cost import host_counts
    from distbp.planning.hosts import plan_hosts

    if config.workers != "auto":
        raise UsageError(
            f"plan --hosts takes the workers from --hosts and --per-host: leave --workers out, found {config.workers}"
        )
    data_set = load_as(data, Reading.of(config))
    host_plan = plan_hosts(config, data_set, host_counts(*hosts), link, per_host)
    click.echo(json.dumps(hosts_json(host_plan, link)) if as_json else "\n".join(hosts_lines(host_plan)))
