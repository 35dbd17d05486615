"""``distbp plan``: what a run will cost on this machine, or steps on several hosts, before anything is started."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from distbp.cli.options import settings_options
from distbp.errors import UsageError

if TYPE_CHECKING:
    from distbp.planning.hosts import HostPlan
    from distbp.planning.machine import MachinePlan

_MOST_HOSTS = 4096
_CLEARLY = 1.05
"""How many times slower a number of workers must be to be warned about; less may be chance."""
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
@click.option("--hosts", type=HostRange(), metavar="N|A..B", help="How many hosts to plan for; of a "
              "range both ends and the powers of two in between.  [default: this machine alone]")  # fmt: skip
@click.option("--per-host", type=click.IntRange(1, 1024), default=1, show_default=True, help="Workers on each host, "
              "with --threads cores for each.")  # fmt: skip
@click.option("--link", type=LinkRate(), default="1gbit", show_default=True, metavar="RATE",
              help="Of each host's link, in each direction: 500mbit, 1gbit, 10gbit ..")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options
@click.pass_context
def plan(
    ctx: click.Context, /, data: tuple[str, ...], hosts: tuple[int, int] | None, per_host: int, link: float,
    as_json: bool, **settings: Any,
) -> None:  # fmt: skip
    """Say what train with these options would cost: parameters, memory, bytes and time per step and epoch.

    Does steps of the run for about two seconds, in this process and in 1, 2 .. processes, and says which number of
    workers is done first; --workers N looks at up to N. With --hosts it says what a step would take on several hosts
    like this one: the rest is a model of links and messages, and --servers, if left out, is the best for each number.

    \b
    Example:
      distbp plan digits --hidden 512,512 --batch-size 1024
      distbp plan digits --hosts 1..1024 --link 10gbit --hidden 512,512 --batch-size 1024 --shards 1024
    """
    from distbp.config import Config
    from distbp.data.loading import load_as
    from distbp.data.reading import Reading

    config = Config.from_settings(settings)
    if hosts is None:
        for name in ("per_host", "link"):
            if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
                raise UsageError(f"--{name.replace('_', '-')} is of several hosts: give --hosts, too")
        if config.address is not None:
            raise UsageError("plan measures this machine: leave --address out, or give --hosts for a cluster like it")
        from distbp.planning.machine import plan_machine

        here = plan_machine(config, load_as(data, Reading.of(config)))
        click.echo(json.dumps(_machine_described(here)) if as_json else "\n".join(_machine_told(here)))
        return
    from distbp.parallel.mesh.cost import host_counts
    from distbp.planning.hosts import plan_hosts

    if config.workers != "auto":
        raise UsageError(f"plan counts workers by --hosts and --per-host: leave --workers out, found {config.workers}")
    data_set = load_as(data, Reading.of(config))
    found = plan_hosts(config, data_set, host_counts(*hosts), link, per_host)
    click.echo(json.dumps(_described(found, link)) if as_json else "\n".join([*_table(found), *_findings(found)]))


def _machine_described(found: MachinePlan) -> dict[str, Any]:
    """Return the plan for one machine as JSON's types."""
    return {
        "parameters": found.parameters,
        "batch_size": found.rows,
        "shards": found.shards,
        "steps_per_epoch": found.steps_per_epoch,
        "epochs": found.epochs,
        "data_bytes": found.data_bytes,
        "cores": found.cores,
        "choices": [
            {
                "workers": choice.workers,
                "step_ms": 1000 * choice.step_seconds,
                "samples_per_s": found.rows / choice.step_seconds,
                "epoch_seconds": choice.epoch_seconds,
                "run_seconds": choice.run_seconds,
                "memory_bytes": choice.memory_bytes,
                "shared_bytes": choice.shared_bytes,
                "step_bytes": choice.step_bytes,
            }
            for choice in found.choices
        ],
        "quickest_step": found.quickest.workers,
        "best": found.best.workers,
    }


def _machine_told(found: MachinePlan) -> list[str]:
    """Return the plan for one machine as a table, and what it shows, a sentence each."""
    rows = [("workers", "step ms", "samples/s", "epoch s", "run s", "MB each", "MB shared", "MB per step")]
    for choice in found.choices:
        rows.append((
            str(choice.workers), _ms(choice.step_seconds), f"{found.rows / choice.step_seconds:,.0f}",
            _seconds(choice.epoch_seconds), _seconds(choice.run_seconds), f"{choice.memory_bytes / 1e6:,.0f}",
            f"{choice.shared_bytes / 1e6:,.0f}", f"{choice.step_bytes / 1e6:,.2f}",
        ))  # fmt: skip
    told = [
        f"{found.parameters:,} parameters, {found.rows:,} rows in {found.shards:,} shards, {found.steps_per_epoch:,} "
        f"steps per epoch, {found.epochs:,} epochs; {found.data_bytes / 1e6:,.1f} MB of data"
    ]
    best, quickest, alone = found.best, found.quickest, found.choices[0]
    if best.workers:
        told.append(
            f"best: --workers {best.workers}, done {alone.run_seconds - best.run_seconds:,.0f} s before this process "
            "alone, with the seconds that Ray takes to start"
        )
    elif quickest.workers:
        saved = found.epochs * (alone.epoch_seconds - quickest.epoch_seconds)
        told.append(
            f"best: --workers 0: {quickest.workers} workers have the quicker steps, but would save {saved:,.1f} s, "
            "less than Ray takes to start"
        )
    elif len(found.choices) > 1:
        told.append("best: --workers 0: no number of workers that was tried is quicker than this process alone")
    for choice in found.choices[1:]:
        before = [other for other in found.choices if other.workers < choice.workers]
        least = min(before, key=lambda other: other.step_seconds)
        if choice.workers > found.shards:
            shards = min(choice.workers, found.rows)
            hint = f"; --shards {shards} would use more (and give other bits)" if shards > found.shards else ""
            told.append(
                f"warning: {choice.workers} workers: {choice.workers - found.shards} would stay idle, since there are "
                f"{found.shards} shards{hint}"
            )
        elif choice.step_seconds > _CLEARLY * least.step_seconds:
            more = 100 * (choice.step_seconds / least.step_seconds - 1)
            who = f"{choice.workers} worker{'s' * (choice.workers > 1)}"
            told.append(f"warning: {who} would be {more:,.0f} % slower per step than --workers {least.workers}")
    return [*_aligned(rows), *told]


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
                "factored_layers": [layer + 1 for layer in step.factored],
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
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
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


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f}" if seconds >= 10 else f"{seconds:.2g}" if seconds >= 0.001 else "< 0.001"
