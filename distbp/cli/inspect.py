"""``distbp inspect`` and ``distbp gradcheck``: a look inside a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from distbp.cli.options import Bounded, LayerSizes, Names
from distbp.cli.trained_network import load_network
from distbp.errors import RunError, TrainingError

_COLUMNS = ("layer", "nodes", "activation", "parameters", "|w|", "|b|", "gradient", "update", "saturated", "dead")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def inspect(run: Path) -> None:
    """Print the layers of RUN's network: nodes, parameters, norms, saturation, and what was found.

    Norms of w and b are of the saved network; gradient (its norm), update (the change in a step as a share of the
    weights), saturated and dead units are of the last epoch's record.

    \b
    Example:
      distbp inspect runs/20261123-181500-digits
    """
    import numpy as np

    from distbp.cli.streams import say
    from distbp.config import name_of
    from distbp.runs.records import METRICS, read_metrics
    from distbp.runs.saved import has_checkpoint, is_finished, read_saved

    # a run that is going on, or was left, has checkpoints only
    network = load_network(run) if is_finished(run) or not has_checkpoint(run) else read_saved(run, say).network()
    structure = network.structure
    records = read_metrics(run)
    last: dict[str, Any] = records[-1] if records else {}
    told = last.get("layers") or [{}] * structure.depth
    if len(told) != structure.depth:
        raise RunError(f"{run / METRICS} tells of {len(told)} layers, the network has {structure.depth}")
    rows = [_COLUMNS]
    for l, (layer, found) in enumerate(zip(structure.layers(network.weights), told, strict=True), start=1):
        rows.append((
            str(l), str(structure.sizes[l]), name_of(structure.activations[l - 1]), f"{layer.w.size + layer.b.size:,}",
            f"{np.linalg.norm(layer.w):.4g}", f"{np.linalg.norm(layer.b):.4g}", _number(found.get("gradient_norm")),
            _number(found.get("update_ratio")), _share(found.get("saturated")), _share(found.get("dead")),
        ))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    click.echo(f"{structure.sizes[0]} inputs, {structure.parameter_count:,} parameters, cost {name_of(structure.cost)}")
    for row in rows:
        click.echo("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for finding in last.get("findings", ()):
        click.echo(finding["text"])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--sizes", type=LayerSizes(), default="4,6,5,3", show_default=True, help="Nodes of each layer.")
@click.option("--activation", type=Names(), default="relu", show_default=True, help="Of the hidden layers.")
@click.option("--output", help="Of the output layer.  [default: by cost]")
@click.option("--cost", default="cross-entropy", show_default=True, help="Cost of an example.")
@click.option(
    "--seed", type=Bounded(min=0, most=2**64 - 1), default=0, show_default=True, help="Fixes the random rows."
)
def gradcheck(
    run: Path | None, sizes: tuple[int, ...], activation: Any, output: str | None, cost: str, seed: int
) -> None:
    """Compare backprop with central differences, for the network of RUN or for one of the given sizes and parts.

    \b
    Example:
      distbp gradcheck --sizes 8,16,4 --activation gelu --cost huber
    """
    from distbp.config import Config
    from distbp.model.inspection import gradcheck as check

    if run is not None:
        found = check(load_network(run), seed=seed)
    else:
        task = "classification" if cost.endswith("cross-entropy") else "regression"
        config = Config(hidden=sizes[1:-1], activation=activation, output=output, cost=cost).for_task(task)
        found = check(sizes, seed=seed, activation=activation, output=config.output, cost=cost)
    click.echo(str(found))
    if not found.passes():
        raise TrainingError(f"backprop and central differences differ in {found.parameter} of layer {found.layer}")
