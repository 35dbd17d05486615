"""``distbp export``."""

from __future__ import annotations

from pathlib import Path

import click

from distbp.cli.loading import load_network
from distbp.errors import RunError, UsageError

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--onnx", type=_FILE, metavar="FILE", help="As an ONNX graph, with the preprocessing of its rows in it.")
@click.option("--safetensors", type=_FILE, metavar="FILE", help="As one file that distbp.from_safetensors reads.")
@click.option("--torch", type=_FILE, metavar="FILE", help="As the state dict of a PyTorch nn.Sequential (safetensors).")
def export(run: Path, onnx: Path | None, safetensors: Path | None, torch: Path | None) -> None:
    """Write the network of RUN in the forms of other tools.

    \b
    Example:
      distbp export my-run --onnx my-model.onnx
    """
    from distbp import interchange

    if onnx is None and safetensors is None and torch is None:
        raise UsageError("say what to write: --onnx FILE, --safetensors FILE, --torch FILE")
    network = load_network(run)
    if onnx is not None:
        try:
            interchange.to_onnx(network, onnx)
        except ImportError as error:
            raise RunError(str(error)) from error
    if safetensors is not None:
        interchange.to_safetensors(network, safetensors)
    if torch is not None:
        interchange.to_torch(network, torch)
