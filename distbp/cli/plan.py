"""``distbp plan``: what steps will take, before anything is started."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from distbp.cli.options import settings_options
from distbp.errors import UsageError

if TYPE_CHECKING:
    from distbp.calibration import HostPlan

_MOST_HOSTS = 4096
_BYTES = {"kbit": 1e3 / 8, "mbit": 1e6 / 8, "gbit": 1e9 / 8}
_COLUMNS = ("hosts", "step ms", "samples/s", "speed-up", "compute ms", "wire ms", "MB per link", "--servers")


class HostRange(click.ParamType[tuple[int, int]]):
    """``1..1024`` or ``8`` as (least, most)."""

    name = "hosts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return both ends."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([0-9]{1,5})(?:\.\.([0-9]{1,5}))?", value)
        least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= least <= most <= _MOST_HOSTS:
            self.fail(f"{value!r} is no number of hosts from 1 to {_MOST_HOSTS}, nor a range such as 1..64", param, ctx)
        return least, most


class LinkRate(click.ParamType[float]):
    """``10gbit``, ``500mbit`` as bytes per second."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the rate."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kmg]bit)(?:/s)?", value.lower())
        rate = float(found[1]) * _BYTES[found[2]] if found else 0.0
        if not 0 < rate < float("inf"):
            self.fail(f"{value!r} is no rate such as 500mbit, 1gbit or 10gbit", param, ctx)
        return rate


@click.command()
@click.argument("data", nargs=-1, required=True)
@click.option("--hosts", type=HostRange(), required=True, metavar="N|A..B", help="How many hosts to plan for; of a "
              "range both ends and the powers of two in between.")  # fmt: skip
@click.option("--per-host", type=click.IntRange(1, 1024), default=1, show_default=True, help="Workers on each host, "
              "with --threads cores for each.")  # fmt: skip
@click.option("--link", type=LinkRate(), default="1gbit", show_default=True, metavar="RATE",
              help="Of each host's link, in each direction: 500mbit, 1gbit, 10gbit ..")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options
def plan(
    data: tuple[str, ...], hosts: tuple[int, int], per_host: int, link: float, as_json: bool, **settings: Any
) -> None:
    """Say what a step of train with these options would take on several hosts like this one.

    Measures this machine for about two seconds; the rest is a model of links and messages. Options are those of
    train; --servers, if left out, is the best for each number of hosts.

    \b
    Example:
      distbp plan digits --hosts 1..1024 --link 10gbit --hidden 512,512 --batch-size 1024 --shards 1024
    """
    from distbp.calibration import plan_hosts
    from distbp.config import Config
    from distbp.data.loading import load_as
    from distbp.data.reading import Reading
    from distbp.planning import host_counts

    config = Config.from_settings(settings)
    if config.workers != "auto":
        raise UsageError(f"plan counts workers by --hosts and --per-host: leave --workers out, found {config.workers}")
    data_set = load_as(data, Reading.of(config))
    found = plan_hosts(config, data_set, host_counts(*hosts), link, per_host)
    click.echo(json.dumps(_described(found, link)) if as_json else "\n".join([*_table(found), *_findings(found)]))


def _described(found: HostPlan, link: float) -> dict[str, Any]:
    """Return the plan as JSON's types."""
    return {
        "parameters": found.parameters,
        "batch_size": found.rows,
        "shards": found.shards,
        "workers_per_host": found.per_host,
        "link_bytes_per_s": link,
        "shard_ms": 1000 * found.machine.shard,
        "update_ms": 1000 * found.machine.update,
        "alone": {"shards": found.alone_shards, "step_ms": 1000 * found.alone_seconds},
        "steps": [
            {
                "hosts": step.hosts,
                "step_ms": 1000 * step.seconds,
                "samples_per_s": found.rows / step.seconds,
                "speed_up": found.alone_seconds / step.seconds,
                "compute_ms": 1000 * step.compute_seconds,
                "wire_ms": 1000 * step.wire_seconds,
                "link_bytes": step.link_bytes,
                "messages": step.messages,
                "servers": step.servers or None,
                "idle_hosts": max(0, step.hosts - found.useful_hosts),
            }
            for step in found.steps
        ],
        "stops_paying": found.stops_paying,
    }


def _table(found: HostPlan) -> list[str]:
    rows = [_COLUMNS]
    for step in found.steps:
        rows.append((
            f"{step.hosts:,}", _ms(step.seconds), f"{found.rows / step.seconds:,.0f}",
            f"{found.alone_seconds / step.seconds:.2f}", _ms(step.compute_seconds), _ms(step.wire_seconds),
            f"{step.link_bytes / 1e6:.2f}", str(step.servers or "-"),
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _findings(found: HostPlan) -> list[str]:
    """Return what the table shows, a sentence each."""
    told = [
        f"{found.parameters:,} parameters, {found.rows:,} rows in {found.shards:,} shards; here a shard takes "
        f"{_ms(found.machine.shard)} ms, the update {_ms(found.machine.update)} ms; speed-up is over one worker with "
        f"{found.alone_shards} shards ({_ms(found.alone_seconds)} ms)"
    ]
    first, last = found.steps[0], found.steps[-1]
    if found.stops_paying is not None:
        told.append(f"adding hosts stops paying at {found.stops_paying:,}: no more of them would be 10 % quicker")
    elif first is not last:
        told.append(f"more hosts pay up to {last.hosts:,}, the most that were asked for")
    quickest = min(found.steps, key=lambda step: step.seconds)
    if quickest.seconds >= found.alone_seconds:
        told.append("no number of these hosts is quicker than one worker alone")
    if last.hosts > found.useful_hosts:
        workers = min(last.hosts * found.per_host, found.rows)
        hint = f"; --shards {workers} would use more (and give other bits)" if workers > found.shards else ""
        told.append(f"{found.shards:,} shards are work for {found.useful_hosts:,} hosts, others stay idle{hint}")
    return told


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}" if seconds >= 0.01 else f"{1000 * seconds:.2f}"
