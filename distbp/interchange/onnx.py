"""Export of networks as ONNX files (``pip install 'distbp[onnx]'``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distbp.config import name_of
from distbp.data.dataset import Array
from distbp.errors import UsageError
from distbp.files.atomic import write_all
from distbp.interchange.onnx_graph import Graph
from distbp.interchange.onnx_inputs import network_inputs
from distbp.model.network import Network
from distbp.nn.activations import LeakyRelu

_C, _CUBE = np.sqrt(2.0 / np.pi), 0.044715  # of gelu


def to_onnx(network: Network, path: str | Path, pixels: bool = False) -> None:
    """Write a network as an ONNX file.

    A network that was trained on a table has one input per column, with the column's name and shape (rows, 1): numbers
    as doubles, NaN where missing; categories as text without blanks around it; dates in local time as seconds since
    1970, int64 as in ``datetime64[s]``, the smallest (NaT) where missing. The graph contains all preprocessing, and its
    values are in the unit of the target. Other networks have an input ``x``, shape (rows, m_0), of the network's type;
    with ``pixels``, or after training on images, of unsigned bytes.

    The outputs are ``label``, shape (rows,), and ``probabilities``, (rows, classes), for classes, otherwise ``values``,
    (rows, m_L). If a column has the same name, ``_out`` is appended to the output's name.

    Raises:
        ImportError: the extra is not installed.
        UsageError: the network has an activation of your own, or a column without a name, which ONNX cannot express.
    """
    write_all({Path(path): onnx_content(network, pixels)})


def onnx_content(network: Network, pixels: bool = False) -> bytes:
    """Return the content of the file that :func:`to_onnx` writes, and raise the same errors."""
    structure, dtype = network.structure, network.weights.dtype.name
    graph = Graph(dtype)
    x = network_inputs(graph, network, pixels)
    logits = x
    for l, (w, b) in enumerate(structure.layers(network.weights)):
        logits = graph("Gemm", x, graph.constant(w), graph.constant(b), transB=1)
        x = _apply(graph, structure.activations[l], logits)
    _add_outputs(graph, network, logits, x)
    metadata = {"distbp.structure": str(structure.described()), "distbp.byte_factor": str(network.byte_factor)}
    content: bytes = graph.model(metadata).SerializeToString()
    return content


def _add_outputs(graph: Graph, network: Network, logits: str, a: str) -> None:
    """Add the outputs of the graph: labels and probabilities, or values."""
    nodes, dtype = network.structure.sizes[-1], graph.dtype
    if not network.classes:
        target = None if network.preprocessing is None else network.preprocessing.target
        if target is not None and target.is_scaled:
            wide = graph("Mul", graph.cast(a, np.float64), graph.constant(target.deviation, np.float64))
            a, dtype = graph("Add", wide, graph.constant(target.mean, np.float64)), "float64"
        graph.output(a, "values", dtype, nodes)
        return
    if nodes == 1:
        is_second = graph("Greater", a, graph.constant(0.5))
        chosen = graph("Reshape", graph.cast(is_second, np.int64), graph.constant([-1], np.int64))
        second = graph("Max", graph("Min", a, graph.constant(1.0)), graph.constant(0.0))
        probabilities = graph("Concat", graph("Sub", graph.constant(1.0), second), second, axis=1)
    elif network.structure.activations[-1] == "softmax":
        chosen, probabilities = graph("ArgMax", logits, axis=1, keepdims=0), a
    else:  # as distbp.nn.costs.chosen_classes and distbp.nn.scores.Predictions have it
        columns = graph.constant([1], np.int64)
        is_largest = graph("Equal", a, graph("ReduceMax", a, columns, keepdims=1))
        ranked = graph("Where", is_largest, logits, graph.constant(-np.inf))
        chosen, positive = graph("ArgMax", ranked, axis=1, keepdims=0), graph("Max", a, graph.constant(0.0))
        wide = graph.cast(positive, np.float64)
        total = graph("ReduceSum", wide, columns, keepdims=1)
        shares = graph.cast(graph("Div", wide, total), dtype)  # replaced below where the sum is 0
        is_any = graph("Greater", total, graph.constant(0.0, np.float64))
        probabilities = graph("Where", is_any, shares, graph.constant(1 / nodes))
    names: Array = np.asarray(network.classes)
    kind: Any = np.int64 if names.dtype.kind in "biu" else object
    labels = graph.constant(names if kind is np.int64 else names.astype(str).astype(object), kind)
    graph.output(graph("Gather", labels, chosen), "label", kind, None)
    graph.output(probabilities, "probabilities", dtype, len(network.classes))


def _apply(graph: Graph, activation: Any, z: str) -> str:
    """Return sigma(z), by operators that runtimes support for float32 and float64."""
    if not isinstance(activation, str) or activation not in _OPERATORS:
        raise UsageError(f"ONNX has no activation {name_of(activation)}")
    return _OPERATORS[activation](graph, z)


def _leaky_relu(graph: Graph, z: str) -> str:
    return graph("Where", _is_positive(graph, z), z, graph("Mul", z, graph.constant(LeakyRelu().slope)))


def _elu(graph: Graph, z: str) -> str:
    below = graph("Sub", graph("Exp", graph("Min", z, graph.constant(0.0))), graph.constant(1.0))
    return graph("Where", _is_positive(graph, z), z, below)


def _softplus(graph: Graph, z: str) -> str:
    rest = graph("Log", graph("Add", graph.constant(1.0), graph("Exp", graph("Neg", graph("Abs", z)))))
    return graph("Add", graph("Max", z, graph.constant(0.0)), rest)


def _gelu(graph: Graph, z: str) -> str:
    cube = graph("Mul", graph("Mul", graph("Mul", z, z), z), graph.constant(_CUBE))
    t = graph("Tanh", graph("Mul", graph.constant(_C), graph("Add", z, cube)))
    return graph("Mul", graph("Mul", graph.constant(0.5), z), graph("Add", graph.constant(1.0), t))


def _is_positive(graph: Graph, z: str) -> str:
    return graph("Greater", z, graph.constant(0.0))


_OPERATORS: Mapping[str, Callable[[Graph, str], str]] = {
    "sigmoid": lambda graph, z: graph("Sigmoid", z),
    "tanh": lambda graph, z: graph("Tanh", z),
    "relu": lambda graph, z: graph("Relu", z),
    "leaky-relu": _leaky_relu,
    "elu": _elu,
    "gelu": _gelu,
    "softplus": _softplus,
    "swish": lambda graph, z: graph("Mul", z, graph("Sigmoid", z)),
    "identity": lambda graph, z: z,
    "softmax": lambda graph, z: graph("Softmax", z, axis=-1),
}
