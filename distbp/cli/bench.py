"""``distbp bench``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from distbp.cli.options import Bounded, WorkerCount
from distbp.errors import DataError, UsageError, unknown_name


@click.command()
@click.argument("case")
@click.option(
    "--data", required=True, metavar="DATA", help="Training data, as in train; the cases are sized for MNIST."
)
@click.option("--workers", type=WorkerCount(), default="auto", show_default=True, help="As in train.")
@click.option("--shards", type=click.IntRange(min=1), help="As in train.  [default: workers, at least 1]")
@click.option("--steps", type=Bounded(min=1), help="Timed steps, after 5 warm-up steps.  [default: a few seconds]")
@click.option("--address", metavar="HOST:PORT", help="As in train.")
@click.option("--servers", type=click.IntRange(min=1), help="As in train.")
@click.option("--wire", metavar="NAME", help="As in train.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(
    case: str, data: str, workers: int | str, steps: int | None, as_json: bool, **settings: int | str | None
) -> None:
    """Time the steps of CASE: tiny, small, mnist or wide.

    \b
    Example:
      distbp bench mnist --data path/to/mnist --workers 2 --json
    """
    from distbp.data import load
    from distbp.planning.bench import CASES, faster_config, measure

    if case not in CASES:
        raise unknown_name("case", case, CASES)
    chosen: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    if isinstance(workers, str) and settings["address"] is not None:
        raise UsageError(f"bench on a cluster needs a number as --workers, found {workers}")
    data_set = load(data)
    if data_set.task != "classification":
        raise DataError(f"bench needs classification data: the targets of {data} are numeric values")

    def note(text: str) -> None:
        click.echo(f"note: {text}", err=True)

    if isinstance(workers, int):
        config = CASES[case].config(workers, **chosen)
    else:
        config = faster_config(CASES[case], data_set, note, **chosen)
    result = measure(case, config, data_set, steps or CASES[case].steps, note)
    click.echo(
        json.dumps(asdict(result))
        if as_json
        else f"{case}: {result.samples_per_s:,.0f} samples/s, {result.step_ms:.3f} ms per step, "
        f"{result.workers} workers, {result.shards} shards, test accuracy {result.test_accuracy:.4f}"
    )
