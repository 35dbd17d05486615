"""The files of a model: ``model.safetensors`` has w and b of every layer, ``model.json`` their meaning."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distbp.errors import RunError
from distbp.files.json_checks import above_0, anything, either, flag, list_of, number, of_format, record, text, whole
from distbp.files.json_files import read_sealed, write_json
from distbp.files.json_text import Unexpected
from distbp.files.tensors import read_sealed_tensors, read_tensors, write_tensors
from distbp.nn.structure import Array, Structure

_FORMAT = 1
_MODEL = record(
    {
        "format": of_format(_FORMAT),
        "sizes": list_of(whole(1), 2),
        "activations": list_of(text(), 1),
        "cost": text(),
        "weights_sha256": text(64),
    },
    {
        "classes": list_of(either(text(), flag, number(), expected="text, a number, true or false")),
        "byte_factor": above_0,
        "preprocessing": anything,  # Preprocessing.from_json checks it
    },
)
_OTHER_BYTES = 1 << 24
"""Most bytes of model.safetensors beside its numbers: names, and a checksum."""


def weights_sha256(weights: Array) -> str:
    """Return the SHA-256 of the flat parameter vector's bytes, little-endian, in layer order w^1, b^1, w^2, b^2 .."""
    return hashlib.sha256(weights.astype(weights.dtype.newbyteorder("<")).tobytes()).hexdigest()


def save_model(folder: Path, structure: Structure, weights: Array, meaning: dict[str, Any]) -> None:
    """Write the model's two files into ``folder``, which is created if it is missing.

    ``meaning`` is stored beside the structure: classes, byte factor and preprocessing, as JSON's types.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made: {error.strerror}") from error
    tensors = {}
    for l, (w, b) in enumerate(structure.layers(weights), start=1):
        tensors[f"w{l}"], tensors[f"b{l}"] = w, b
    tensors |= _as_tensors(structure.connections)
    write_tensors(folder / "model.safetensors", tensors)
    meaning = {"weights_sha256": weights_sha256(weights), **meaning}
    described = structure.described()
    write_json(folder / "model.json", {"format": _FORMAT, **described, **meaning})


class Model(NamedTuple):
    """A model as its files describe it."""

    structure: Structure
    weights: Array
    """The flat parameter vector."""
    meaning: dict[str, Any]
    """The content of model.json."""
    has_sums: bool
    """Whether both files have a checksum; files of older versions have none."""


def load_model(folder: Path, own: Mapping[str, Any] | None = None) -> Model:
    """Read the model in ``folder``.

    ``own`` has the user's own activations and costs by name.

    Raises:
        RunError: a file is missing or damaged, or the two files do not match.
    """
    described, has_sum = read_sealed(folder / "model.json", _MODEL)
    sizes, activations = tuple(described["sizes"]), tuple(described["activations"])
    most = (
        9 * sum(m * (before + 1) for before, m in pairwise(sizes)) + _OTHER_BYTES
    )  # float64, and a byte per connection
    tensors, _, have_sum = read_sealed_tensors(folder / "model.safetensors", most)
    try:
        connections = _from_tensors(tensors, len(activations))
        functions = [(own or {}).get(name, name) for name in (*activations, described["cost"])]
        structure = Structure(sizes, tuple(functions[:-1]), functions[-1], connections)
        dtype = tensors["w1"].dtype
        if dtype not in (np.float32, np.float64):
            raise Unexpected(f"the weights are {dtype}, expected float32 or float64")
        parts = []
        for l in range(1, structure.depth + 1):
            w, b = tensors[f"w{l}"], tensors[f"b{l}"]
            expected = (sizes[l], sizes[l - 1]), (sizes[l],)
            if (w.shape, b.shape) != expected or w.dtype != dtype or b.dtype != dtype:
                raise Unexpected(f"layer {l} is {w.shape}, {b.shape} of {w.dtype}, {b.dtype}; expected {expected}")
            parts += [w.reshape(-1), b]
        weights = np.concatenate(parts)
        if weights_sha256(weights) != described["weights_sha256"]:
            raise Unexpected("the weights are not those that were saved (another SHA-256)")
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"the two model files in {folder} do not fit each other: {error}") from error
    return Model(structure, weights, described, has_sum and have_sum)


CONNECTIONS = "connections.safetensors"
"""File in a run directory with the connections of a network that omits some."""


def write_connections(folder: Path, connections: Sequence[Array | None]) -> None:
    """Write the connections of a network into a run directory."""
    write_tensors(folder / CONNECTIONS, _as_tensors(connections))


def read_connections(folder: Path, layers: int, left_out: bool | None = None) -> tuple[Array | None, ...]:
    """Return the connections of a run's network; empty if it has all. ``left_out`` is True if it omits some.

    Raises:
        RunError: the file is damaged, or is missing although the network omits some.
    """
    if not left_out and not (folder / CONNECTIONS).exists():
        return ()
    return _from_tensors(read_tensors(folder / CONNECTIONS)[0], layers)


def read_weights(path: Path, like: Array) -> Array:
    """Read a flat parameter vector with the length and type of ``like``.

    Raises:
        RunError: the file is missing or damaged, or holds something else.
    """
    weights = read_tensors(path)[0].get("weights")
    if weights is None or (weights.shape, weights.dtype) != (like.shape, like.dtype):
        raise RunError(f"{path} does not hold the {like.size:,} weights of this run")
    return weights


def _as_tensors(connections: Sequence[Array | None]) -> dict[str, Array]:
    chosen = enumerate(connections, start=1)
    return {f"connections{l}": each.astype(np.uint8) for l, each in chosen if each is not None}


def _from_tensors(tensors: Mapping[str, Array], layers: int) -> tuple[Array | None, ...]:
    chosen = tuple(tensors.get(f"connections{l}") for l in range(1, layers + 1))
    return () if all(each is None for each in chosen) else chosen
