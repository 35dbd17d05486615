"""``distbp inspect`` and ``distbp gradcheck``: the layers of a network, and a check of its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from distbp.cli.options import Bounded, LayerSizes, Names
from distbp.cli.tables import aligned
from distbp.cli.trained_network import load_network
from distbp.errors import RunError, TrainingError

_COLUMNS = ("layer", "nodes", "activation", "parameters", "|w|", "|b|", "gradient", "update", "saturated", "dead")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def inspect(run: Path) -> None:
    """Print the layers of RUN's network: nodes, parameters, norms, saturation and health findings.

    |w| and |b| are norms of the saved network. The gradient's norm, the update ratio (norm of a step's update / norm
    of the weights) and the shares of saturated and dead units come from the last epoch's record.

    \b
    Example:
      distbp inspect runs/20261123-181500-digits
    """
    import numpy as np

    from distbp.cli.streams import echo_stderr
    from distbp.config import name_of
    from distbp.runs.records import METRICS, read_metrics
    from distbp.runs.saved import has_checkpoint, is_finished, read_saved

    # an unfinished run has only checkpoints
    network = (
        load_network(run) if is_finished(run) or not has_checkpoint(run) else read_saved(run, echo_stderr).network()
    )
    structure = network.structure
    records = read_metrics(run)
    last: dict[str, Any] = records[-1] if records else {}
    layer_metrics = last.get("layers") or [{}] * structure.depth
    if len(layer_metrics) != structure.depth:
        raise RunError(f"{run / METRICS} has records of {len(layer_metrics)} layers, the network has {structure.depth}")
    rows: list[Sequence[str]] = [_COLUMNS]
    for l, (layer, metrics) in enumerate(zip(structure.layers(network.weights), layer_metrics, strict=True), start=1):
        cells = [
            str(l),
            str(structure.sizes[l]),
            name_of(structure.activations[l - 1]),
            f"{layer.w.size + layer.b.size:,}",
            f"{np.linalg.norm(layer.w):.4g}",
            f"{np.linalg.norm(layer.b):.4g}",
            _number(metrics.get("gradient_norm")),
            _number(metrics.get("update_ratio")),
            _share(metrics.get("saturated")),
            _share(metrics.get("dead")),
        ]
        rows.append(cells)
    click.echo(f"{structure.sizes[0]} inputs, {structure.parameter_count:,} parameters, cost {name_of(structure.cost)}")
    for line in aligned(rows):
        click.echo(line)
    for finding in last.get("findings", ()):
        click.echo(finding["text"])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--sizes", type=LayerSizes(), default="4,6,5,3", show_default=True, help="Nodes of each layer, input first."
)
@click.option("--activation", type=Names(), default="relu", show_default=True, help="Activation of the hidden layers.")
@click.option("--output", help="Activation of the output layer.  [default: by cost]")
@click.option("--cost", default="cross-entropy", show_default=True, help="Cost function.")
@click.option(
    "--seed",
    type=Bounded(min=0, most=2**64 - 1),
    default=0,
    show_default=True,
    help="Seed of the random rows and weights.",
)
def gradcheck(
    run: Path | None, sizes: tuple[int, ...], activation: Any, output: str | None, cost: str, seed: int
) -> None:
    """Compare backprop with central differences, for the network of RUN or for one built from the options.

    \b
    Example:
      distbp gradcheck --sizes 8,16,4 --activation gelu --cost huber
    """
    from distbp.config import Config
    from distbp.model.inspection import gradcheck as check

    if run is not None:
        result = check(load_network(run), seed=seed)
    else:
        task = "classification" if cost.endswith("cross-entropy") else "regression"
        config = Config(hidden=sizes[1:-1], activation=activation, output=output, cost=cost).for_task(task)
        result = check(sizes, seed=seed, activation=activation, output=config.output, cost=cost)
    click.echo(str(result))
    if not result.passes():
        raise TrainingError(f"backprop and central differences differ in {result.parameter} of layer {result.layer}")
