"""Output of ``distbp plan``: tables with conclusions, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from distbp.cli.tables import aligned

if TYPE_CHECKING:
    from distbp.planning.hosts import HostPlan
    from distbp.planning.machine import MachinePlan

_CLEARLY_SLOWER = 1.05
"""Ratio of step times from which a warning is printed; a smaller difference may be chance."""
_MACHINE_COLUMNS = ("workers", "step ms", "samples/s", "epoch s", "run s", "MB each", "MB shared", "MB per step")
_HOST_COLUMNS = ("hosts", "step ms", "samples/s", "speed-up", "compute ms", "wire ms", "MB per link", "--servers")


def machine_json(plan: MachinePlan) -> dict[str, Any]:
    """Return the plan of a run on this machine as JSON types."""
    return {
        "parameters": plan.parameters,
        "batch_size": plan.rows,
        "shards": plan.shards,
        "steps_per_epoch": plan.steps_per_epoch,
        "epochs": plan.epochs,
        "data_bytes": plan.data_bytes,
        "cores": plan.cores,
        "choices": [
            {
                "workers": choice.workers,
                "step_ms": 1000 * choice.step_seconds,
                "samples_per_s": plan.rows / choice.step_seconds,
                "epoch_seconds": choice.epoch_seconds,
                "run_seconds": choice.run_seconds,
                "memory_bytes": choice.memory_bytes,
                "shared_bytes": choice.shared_bytes,
                "step_bytes": choice.step_bytes,
            }
            for choice in plan.choices
        ],
        "quickest_step": plan.quickest.workers,
        "best": plan.best.workers,
    }


def machine_lines(plan: MachinePlan) -> list[str]:
    """Return the plan of a run on this machine as a table, followed by conclusions, one sentence each."""
    rows: list[Sequence[str]] = [_MACHINE_COLUMNS]
    for choice in plan.choices:
        cells = [
            str(choice.workers),
            _milliseconds(choice.step_seconds),
            f"{plan.rows / choice.step_seconds:,.0f}",
            _seconds(choice.epoch_seconds),
            _seconds(choice.run_seconds),
            f"{choice.memory_bytes / 1e6:,.0f}",
            f"{choice.shared_bytes / 1e6:,.0f}",
            f"{choice.step_bytes / 1e6:,.2f}",
        ]
        rows.append(cells)
    size = (
        f"{plan.parameters:,} parameters, {plan.rows:,} rows in {plan.shards:,} shards, {plan.steps_per_epoch:,} steps "
        f"per epoch, {plan.epochs:,} epochs; {plan.data_bytes / 1e6:,.1f} MB of data"
    )
    return [*aligned(rows), size, *_best_workers(plan), *_worker_warnings(plan)]


def _best_workers(plan: MachinePlan) -> list[str]:
    best, quickest, alone = plan.best, plan.quickest, plan.choices[0]
    if best.workers:
        saved = alone.run_seconds - best.run_seconds
        return [
            f"best: --workers {best.workers}: saves {saved:,.0f} s over this process alone, the start of Ray included"
        ]
    if quickest.workers:
        saved = plan.epochs * (alone.epoch_seconds - quickest.epoch_seconds)
        return [
            f"best: --workers 0: {quickest.workers} workers have the fastest steps but would save {saved:,.1f} s, less "
            "than Ray takes to start"
        ]
    if len(plan.choices) > 1:
        return ["best: --workers 0: this process alone is faster than any measured number of workers"]
    return []


def _worker_warnings(plan: MachinePlan) -> list[str]:
    """Return a warning for each number of workers that leaves some idle or is slower than a smaller number."""
    warnings = []
    for choice in plan.choices[1:]:
        smaller = [other for other in plan.choices if other.workers < choice.workers]
        fastest = min(smaller, key=lambda other: other.step_seconds)
        if choice.workers > plan.shards:
            shards = min(choice.workers, plan.rows)
            hint = f"; --shards {shards} would use more (and change the result's bits)" if shards > plan.shards else ""
            warnings.append(
                f"warning: {choice.workers} workers: {choice.workers - plan.shards} would stay idle, since there are "
                f"only {plan.shards} shards{hint}"
            )
        elif choice.step_seconds > _CLEARLY_SLOWER * fastest.step_seconds:
            slower = 100 * (choice.step_seconds / fastest.step_seconds - 1)
            workers = f"{choice.workers} worker{'s' * (choice.workers > 1)}"
            warnings.append(f"warning: {workers}: steps {slower:,.0f} % slower than with --workers {fastest.workers}")
    return warnings


def hosts_json(plan: HostPlan, link: float) -> dict[str, Any]:
    """Return the plan of a step on several hosts as JSON types."""
    return {
        "parameters": plan.parameters,
        "batch_size": plan.rows,
        "shards": plan.shards,
        "workers_per_host": plan.per_host,
        "link_bytes_per_s": link,
        "shard_ms": 1000 * plan.machine.shard,
        "update_ms": 1000 * plan.machine.update,
        "alone": {"shards": plan.alone_shards, "step_ms": 1000 * plan.alone_seconds},
        "steps": [
            {
                "hosts": step.hosts,
                "step_ms": 1000 * step.seconds,
                "samples_per_s": plan.rows / step.seconds,
                "speed_up": plan.alone_seconds / step.seconds,
                "compute_ms": 1000 * step.compute_seconds,
                "wire_ms": 1000 * step.wire_seconds,
                "link_bytes": step.link_bytes,
                "messages": step.messages,
                "servers": step.servers or None,
                "factored_layers": [layer + 1 for layer in step.factored],
                "idle_hosts": max(0, step.hosts - plan.useful_hosts),
            }
            for step in plan.steps
        ],
        "stops_paying": plan.stops_paying,
    }


def hosts_lines(plan: HostPlan) -> list[str]:
    """Return the plan of a step on several hosts as a table, followed by conclusions, one sentence each."""
    rows: list[Sequence[str]] = [_HOST_COLUMNS]
    for step in plan.steps:
        cells = [
            f"{step.hosts:,}",
            _milliseconds(step.seconds),
            f"{plan.rows / step.seconds:,.0f}",
            f"{plan.alone_seconds / step.seconds:.2f}",
            _milliseconds(step.compute_seconds),
            _milliseconds(step.wire_seconds),
            f"{step.link_bytes / 1e6:.2f}",
            str(step.servers or "-"),
        ]
        rows.append(cells)
    return [*aligned(rows), *_host_conclusions(plan)]


def _host_conclusions(plan: HostPlan) -> list[str]:
    lines = [
        f"{plan.parameters:,} parameters, {plan.rows:,} rows in {plan.shards:,} shards; on this machine a shard takes "
        f"{_milliseconds(plan.machine.shard)} ms and the update {_milliseconds(plan.machine.update)} ms; speed-up is "
        f"relative to one worker with {plan.alone_shards} shards ({_milliseconds(plan.alone_seconds)} ms)"
    ]
    first, last = plan.steps[0], plan.steps[-1]
    if plan.stops_paying is not None:
        lines.append(f"adding hosts stops paying at {plan.stops_paying:,}: no larger number is 10 % faster")
    elif first is not last:
        lines.append(f"every added host pays, up to {last.hosts:,}, the most that were asked for")
    fastest = min(plan.steps, key=lambda step: step.seconds)
    if fastest.seconds >= plan.alone_seconds:
        lines.append("no number of these hosts is faster than one worker alone")
    if last.hosts > plan.useful_hosts:
        workers = min(last.hosts * plan.per_host, plan.rows)
        hint = f"; --shards {workers} would use more (and change the result's bits)" if workers > plan.shards else ""
        lines.append(f"{plan.shards:,} shards keep {plan.useful_hosts:,} hosts busy, others stay idle{hint}")
    return lines


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}" if seconds >= 0.01 else f"{1000 * seconds:.2f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f}" if seconds >= 10 else f"{seconds:.2g}" if seconds >= 0.001 else "< 0.001"
