"""``distbp gradcheck``: a check of the gradient that backprop computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from distbp.cli.options import Bounded, LayerSizes, Names
from distbp.cli.trained_network import load_network
from distbp.errors import TrainingError


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
