"""Export and import of networks as safetensors files, with distbp's names of the parameters or with PyTorch's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distbp.data.columns.preprocessing import Preprocessing
from distbp.data.dataset import PIXEL_FACTOR, Array
from distbp.errors import RunError, UsageError
from distbp.files.atomic import write_all
from distbp.files.json_checks import above_0, anything, either, flag, list_of, number, record, text, whole
from distbp.files.json_text import Unexpected, parse, shown
from distbp.files.tensors import read_tensors, tensors_as_bytes
from distbp.model.network import Network, check_classes
from distbp.nn.structure import Structure

_KEY = "distbp"
_MEANING = record(
    {},
    {
        "sizes": list_of(whole(1), 2),
        "activations": list_of(text(), 1),
        "cost": text(),
        "classes": list_of(either(text(), flag, number(), expected="text, a number, true or false")),
        "byte_factor": above_0,
        "preprocessing": anything,
    },
)
"""The metadata of a file that distbp wrote; see also distbp.model.files."""


def to_safetensors(network: Network, path: str | Path) -> None:
    """Write w and b of every layer as ``w1``, ``b1``, .., and their meaning as the file's metadata.

    :func:`from_safetensors` restores the network bit for bit.

    Raises:
        UsageError: the network omits connections, which other tools would train again.
    """
    write_all({Path(path): safetensors_content(network)})


def safetensors_content(network: Network) -> bytes:
    """Return the content of the file that :func:`to_safetensors` writes, and raise the same errors."""
    return _content(network, "w{}", "b{}", 1, 1)


def to_torch(network: Network, path: str | Path) -> None:
    """Write the state dict of an ``nn.Sequential`` in which Linear and activation modules alternate.

    PyTorch reads it with ``safetensors.torch.load_file`` and ``load_state_dict``: ``0.weight``, ``0.bias``,
    ``2.weight``, .. have the shapes of ``nn.Linear``. PyTorch itself is not needed to write it.

    Raises:
        UsageError: the network omits connections, which other tools would train again.
    """
    write_all({Path(path): torch_content(network)})


def torch_content(network: Network) -> bytes:
    """Return the content of the file that :func:`to_torch` writes, and raise the same errors."""
    return _content(network, "{}.weight", "{}.bias", 0, 2)


def from_safetensors(
    path: str | Path,
    activation: Any = None,
    output: str | None = None,
    cost: str | None = None,
    classes: Sequence[Any] = (),
) -> Network:
    """Read a network from a file of :func:`to_safetensors` or :func:`to_torch`, or from a state dict of PyTorch's.

    A file of another program has no activations and cost: they are the arguments, by default relu, softmax and
    cross-entropy. All layers are Linear modules under one prefix, in the order of their numbers.

    Raises:
        RunError: the file cannot be read, or its tensors are not the layers of one network.

    >>> import tempfile
    >>> network = Network((4, 3, 2), "tanh", seed=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_torch(network, f"{folder}/network.safetensors")
    ...     again = from_safetensors(f"{folder}/network.safetensors")
    >>> again.structure.activations, bool((again.weights == network.weights).all())
    (('tanh', 'softmax'), True)
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    try:
        meaning: Mapping[str, Any] = parse(metadata[_KEY]) if _KEY in metadata else {}
        _MEANING(meaning, _KEY)
        layers = _layers(tensors, path)
        sizes = (layers[0][0].shape[1], *(len(b) for _, b in layers))
        if meaning.get("sizes", [*sizes]) != [*sizes]:
            raise Unexpected(f"its layers have {sizes} nodes, expected {tuple(meaning['sizes'])}")
        hidden = activation if isinstance(activation, list | tuple) else [activation or "relu"] * (len(layers) - 1)
        activations = tuple(meaning.get("activations") or (*hidden, output or "softmax"))
        structure = Structure(sizes, activations, meaning.get("cost") or cost or "cross-entropy")
        weights = np.concatenate([part.reshape(-1) for layer in layers for part in layer])
        network = Network.of(structure, weights, check_classes(meaning.get("classes") or classes, structure))
        network.byte_factor = float(meaning.get("byte_factor", PIXEL_FACTOR))
        if "preprocessing" in meaning:
            network.preprocessing = Preprocessing.from_json(meaning["preprocessing"])
            if network.preprocessing.inputs != sizes[0]:
                raise Unexpected(f"its columns make {network.preprocessing.inputs} inputs of {sizes[0]}")
    except (KeyError, ValueError) as error:
        raise RunError(f"{path} holds no network that can be read: {error}") from error
    return network


def _content(network: Network, w_name: str, b_name: str, first: int, step: int) -> bytes:
    """Return a file with w and b of every layer; the numbers in their names are ``first``, ``first + step``, .."""
    structure = network.structure
    if structure.connections:
        raise UsageError("the network omits connections, which other tools would train again: Network.save it")
    tensors: dict[str, Array] = {}
    for l, (w, b) in enumerate(structure.layers(network.weights)):
        number = first + step * l
        tensors |= {w_name.format(number): w, b_name.format(number): b}
    meaning = {**structure.described(), "classes": list(network.classes), "byte_factor": network.byte_factor}
    if network.preprocessing is not None:
        meaning["preprocessing"] = network.preprocessing.to_json()
    return tensors_as_bytes(tensors, {_KEY: json.dumps(meaning)})


def _layers(tensors: Mapping[str, Array], path: Path) -> list[tuple[Array, Array]]:
    """Return w and b of each layer, in the order of the numbers in their names.

    Raises:
        RunError: the tensors are not layers that fit each other, or belong to several networks.
    """
    names: dict[int, dict[str, str]] = {}
    prefixes: dict[str | None, str] = {}
    for name in sorted(tensors):
        ours = re.fullmatch(r"(w|b)(\d+)", name)
        theirs = re.fullmatch(r"(.*?)(\d+)\.(weight|bias)", name)
        if ours:
            part, number, prefix = ours[1], ours[2], None
        elif theirs:
            part, number, prefix = theirs[3][0], theirs[2], theirs[1]
        else:
            raise RunError(f"{path} holds {shown(name)}: expected w1, b1, .. or 0.weight, 0.bias, ..")
        prefixes.setdefault(prefix, name)
        if len(prefixes) > 1:
            one, other = prefixes.values()
            pair = f"{shown(one)} and {shown(other)}"
            raise RunError(f"{path} holds {pair}: expected the layers of one network, named alike")
        twin = names.setdefault(int(number), {}).setdefault(part, name)
        if twin != name:
            pair = f"{shown(twin)} and {shown(name)}"
            raise RunError(f"{path} holds {pair}, which are the same layer: expected each once")
    layers = [(tensors[names[k]["w"]], tensors[names[k]["b"]]) for k in sorted(names)]
    _check(layers, path)
    return layers


def _check(layers: Sequence[tuple[Array, Array]], path: Path) -> None:
    """Refuse layers that are not linear, do not fit each other, or hold numbers that are not finite."""
    before = None
    for l, (w, b) in enumerate(layers, start=1):
        if w.ndim != 2 or b.shape != (len(w),) or w.dtype not in (np.float32, np.float64) or w.dtype != b.dtype:
            raise RunError(f"layer {l} of {path} has {w.dtype} {w.shape} and {b.dtype} {b.shape}: no linear layer")
        if before is not None and (w.shape[1] != before.shape[0] or w.dtype != before.dtype):
            raise RunError(f"layer {l} of {path} has {w.shape[1]} inputs, the one before {before.shape[0]} nodes")
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise RunError(f"layer {l} of {path} holds numbers that are not finite")
        before = w
    if before is None:
        raise RunError(f"{path} holds no layers")
