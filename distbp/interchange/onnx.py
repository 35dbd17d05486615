"""Networks as ONNX files, for any runtime that reads them (``pip install 'distbp[onnx]'``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distbp.config import name_of
from distbp.data.dataset import Array
from distbp.errors import UsageError, needs
from distbp.network import Network
from distbp.nn.activations import LeakyRelu
from distbp.runs.files import written_whole
from distbp.version import __version__

_OPSET = 18
_IR = 9
_C, _CUBE = np.sqrt(2.0 / np.pi), 0.044715  # of gelu


class Graph:
    """An ONNX graph that is being built; values go by their names."""

    def __init__(self, dtype: str) -> None:
        with needs("onnx", "onnx"):
            import onnx
        self._onnx = onnx
        self.dtype = dtype
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def input(self, name: str, dtype: Any, columns: int) -> str:
        """Take in a matrix of so many columns."""
        self.inputs.append(self._described(name, dtype, columns))
        return name

    def output(self, value: str, name: str, dtype: Any, columns: int | None) -> None:
        """Give a value out under a name; ``columns`` None is for a vector."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        self.outputs.append(self._described(name, dtype, columns))

    def _described(self, name: str, dtype: Any, columns: int | None) -> Any:
        helper = self._onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, ["rows"] if columns is None else ["rows", columns])

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Keep a constant, in the graph's own type if none is given."""
        array = np.asarray(value, dtype or self.dtype)
        name = f"c{len(self._constants)}"
        self._constants[name] = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def __call__(self, operator: str, *operands: str, **attributes: Any) -> str:
        """Apply an operator; return the name of what it gives."""
        name = f"v{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, list(operands), [name], **attributes))
        return name

    def model(self, told: Mapping[str, str]) -> Any:
        """Return the whole model, checked."""
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, "distbp", self.inputs, self.outputs, list(self._constants.values()))
        model = helper.make_model(
            graph, producer_name="distbp", producer_version=__version__, ir_version=_IR,
            opset_imports=[helper.make_opsetid("", _OPSET)],
        )  # fmt: skip
        helper.set_model_props(model, dict(told))
        self._onnx.checker.check_model(model, full_check=True)
        return model


def to_onnx(network: Network, path: str | Path, pixels: bool = False) -> None:
    """Write a network as an ONNX file.

    Its input is ``x``, shape (rows, m_0), of the network's own type; with ``pixels`` unsigned bytes, which the graph
    scales itself. For classes it gives ``label``, shape (rows,), and ``probabilities``, (rows, classes); else
    ``values``, (rows, m_L).

    Raises:
        ImportError: the extra is not installed.
        UsageError: the network has an activation of its own, which other tools do not know.
    """
    structure, dtype = network.structure, network.weights.dtype.name
    graph = Graph(dtype)
    x = _front(graph, network, pixels)
    logits = x
    for l, (w, b) in enumerate(structure.layers(network.weights)):
        logits = graph("Gemm", x, graph.constant(w), graph.constant(b), transB=1)
        x = _apply(graph, structure.activations[l], logits)
    _give_out(graph, network, logits, x)
    told = {"distbp.structure": str(structure.described()), "distbp.byte_factor": str(network.byte_factor)}
    content = graph.model(told).SerializeToString()
    with written_whole(Path(path)) as beside:
        beside.write_bytes(content)


def _front(graph: Graph, network: Network, pixels: bool) -> str:
    """Take the rows in; return them as what the first layer expects."""
    columns = network.structure.sizes[0]
    x = graph.input("x", np.uint8 if pixels else graph.dtype, columns)
    if not pixels:
        return x
    kind = graph._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(graph.dtype))
    return graph("Mul", graph("Cast", x, to=kind), graph.constant(network.byte_factor))


def _give_out(graph: Graph, network: Network, logits: str, a: str) -> None:
    """Give out what the last layer says."""
    nodes, dtype = network.structure.sizes[-1], graph.dtype
    if not network.classes:
        graph.output(a, "values", dtype, nodes)
        return
    if nodes == 1:
        half = network.structure.sigmas[-1].half
        is_second = graph("Greater", logits, graph.constant(half))
        chosen = graph("Reshape", graph("Cast", is_second, to=7), graph.constant([-1], np.int64))
        probabilities = graph("Concat", graph("Sub", graph.constant(1.0), a), a, axis=1)
    else:
        chosen, probabilities = graph("ArgMax", logits, axis=1, keepdims=0), a
    names: Array = np.asarray(network.classes)
    kind: Any = np.int64 if names.dtype.kind in "biu" else object
    labels = graph.constant(names if kind is np.int64 else names.astype(str).astype(object), kind)
    graph.output(graph("Gather", labels, chosen), "label", kind, None)
    graph.output(probabilities, "probabilities", dtype, len(network.classes))


def _apply(graph: Graph, activation: Any, z: str) -> str:
    """Return sigma(z), from operators that runtimes have for both types."""
    if not isinstance(activation, str) or activation not in _OPERATORS:
        raise UsageError(f"the activation {name_of(activation)} has no counterpart in ONNX")
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
