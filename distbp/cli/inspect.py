"""``distbp inspect``: the layers of a run's network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from distbp.cli.tables import aligned
from distbp.cli.trained_network import load_network
from distbp.errors import RunError

if TYPE_CHECKING:
    from distbp.model.network import Network

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
    click.echo(f"{structure.sizes[0]} inputs, {structure.parameter_count:,} parameters, cost {name_of(structure.cost)}")
    for line in aligned([_COLUMNS, *_layer_rows(network, layer_metrics)]):
        click.echo(line)
    for finding in last.get("findings", ()):
        click.echo(finding["text"])


def _layer_rows(network: Network, layer_metrics: Sequence[Mapping[str, float | None]]) -> list[tuple[str, ...]]:
    import numpy as np

    from distbp.config import name_of

    structure = network.structure
    return [
        (
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
        )
        for l, (layer, metrics) in enumerate(
            zip(structure.layers(network.weights), layer_metrics, strict=True), start=1
        )
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"
