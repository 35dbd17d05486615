"""``distbp export``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from distbp.cli.trained_network import load_network
from distbp.errors import RunError, UsageError

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--onnx", type=_FILE, metavar="FILE", help="As an ONNX graph, with the preprocessing of its rows in it.")
@click.option("--safetensors", type=_FILE, metavar="FILE", help="As one file that distbp.from_safetensors reads.")
@click.option("--torch", type=_FILE, metavar="FILE", help="As the state dict of a PyTorch nn.Sequential (safetensors).")
def export(run: Path, onnx: Path | None, safetensors: Path | None, torch: Path | None) -> None:
    """Write the network of RUN in the forms of other tools: all that are asked for, or none.

    \b
    Example:
      distbp export my-run --onnx my-model.onnx
    """
    from distbp.files.atomic import write_all
    from distbp.interchange import onnx_content, safetensors_content, torch_content

    asked = [
        (form, path, content)
        for form, path, content in (
            ("--onnx", onnx, onnx_content),
            ("--safetensors", safetensors, safetensors_content),
            ("--torch", torch, torch_content),
        )
        if path is not None
    ]
    if not asked:
        raise UsageError("say what to write: --onnx FILE, --safetensors FILE, --torch FILE")
    if len({os.path.realpath(path) for _, path, _ in asked}) < len(asked):
        raise UsageError("two forms would be written to the same file: give each its own")
    network = load_network(run)
    contents = {}
    for form, path, content in asked:
        try:
            contents[path] = content(network)
        except (ImportError, UsageError) as error:
            raise RunError(f"{form}: {error}; nothing was written") from error
    write_all(contents)
