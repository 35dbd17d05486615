"""Construction of an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from distbp.errors import needs
from distbp.version import __version__

_OPSET, _ML_OPSET, _IR = 18, 3, 9
_ML = "ai.onnx.ml"


class Graph:
    """An ONNX graph under construction. Its values are named by texts, which the methods return."""

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
        """Add an input: a matrix with this number of columns."""
        self.inputs.append(self._described(name, dtype, columns))
        return name

    def output(self, value: str, name: str, dtype: Any, columns: int | None) -> None:
        """Make a value an output; ``_out`` is appended if an input has the name. ``columns`` is None for a vector."""
        while name in {each.name for each in self.inputs}:
            name += "_out"
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        self.outputs.append(self._described(name, dtype, columns))

    def _described(self, name: str, dtype: Any, columns: int | None) -> Any:
        helper = self._onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, ["rows"] if columns is None else ["rows", columns])

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Add a constant, in the graph's own type unless one is given."""
        array = np.asarray(value, dtype or self.dtype)
        name = f"distbp.constant.{len(self._constants)}"
        self._constants[name] = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def __call__(self, operator: str, *operands: str, **attributes: Any) -> str:
        """Apply an operator; return the name of its result."""
        name = f"distbp.value.{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, list(operands), [name], **attributes))
        return name

    def cast(self, value: str, dtype: Any) -> str:
        """Cast a value to another type."""
        return self("Cast", value, to=self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def codes(self, texts: str, known: Mapping[str, int]) -> str:
        """Return the code of each text, -1 for unknown ones."""
        keys, values = list(known), list(known.values())
        return self("LabelEncoder", texts, domain=_ML, keys_strings=keys, values_int64s=values, default_int64=-1)

    def model(self, metadata: Mapping[str, str]) -> Any:
        """Return the complete model, checked."""
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, "distbp", self.inputs, self.outputs, list(self._constants.values()))
        model = helper.make_model(
            graph,
            producer_name="distbp",
            producer_version=__version__,
            ir_version=_IR,
            opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_ML, _ML_OPSET)],
        )
        helper.set_model_props(model, dict(metadata))
        self._onnx.checker.check_model(model, full_check=True)
        return model
