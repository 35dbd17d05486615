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
@click.option("--onnx", type=_FILE, metavar="FILE", help="Write an ONNX graph that includes the preprocessing.")
@click.option("--safetensors", type=_FILE, metavar="FILE", help="Write one file that distbp.from_safetensors reads.")
@click.option(
    "--torch", type=_FILE, metavar="FILE", help="Write the state dict of a PyTorch nn.Sequential (safetensors)."
)
def export(run: Path, onnx: Path | None, safetensors: Path | None, torch: Path | None) -> None:
    """Write the network of RUN in the formats of other tools. If one of them fails, no file is written.

    \b
    Example:
      distbp export my-run --onnx my-model.onnx
    """
    from distbp.files.atomic import write_all
    from distbp.interchange import onnx_content, safetensors_content, torch_content

    requested = [
        (option, path, content)
        for option, path, content in (
            ("--onnx", onnx, onnx_content),
            ("--safetensors", safetensors, safetensors_content),
            ("--torch", torch, torch_content),
        )
        if path is not None
    ]
    if not requested:
        raise UsageError("no format is given: use --onnx FILE, --safetensors FILE or --torch FILE")
    if len({os.path.realpath(path) for _, path, _ in requested}) < len(requested):
        raise UsageError("two formats have the same file: give each format its own")
    network = load_network(run)
    contents = {}
    for option, path, content in requested:
        try:
            contents[path] = content(network)
        except (ImportError, UsageError) as error:
            raise RunError(f"{option}: {error}; nothing was written") from error
    write_all(contents)
