"""The first part of an ONNX graph: from rows as the user has them to the inputs of the first layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from distbp.data.columns.column import CATEGORY, DATE
from distbp.data.columns.encoding import CategoryEncoding, Encoding
from distbp.data.columns.preprocessing import Preprocessing
from distbp.errors import UsageError
from distbp.interchange.onnx_dates import date_parts
from distbp.interchange.onnx_graph import Graph
from distbp.model.network import Network


def network_inputs(graph: Graph, network: Network, pixels: bool) -> str:
    """Add the graph's inputs and the preprocessing; return the value that the first layer takes."""
    preprocessing = network.preprocessing
    encoding = None if preprocessing is None else preprocessing.encoding(graph.dtype)
    if preprocessing is not None and encoding is not None:
        return _encoded_columns(graph, preprocessing, encoding)
    columns = network.structure.sizes[0]
    if pixels or preprocessing is not None:
        x = graph.input("x", np.uint8, columns)
        return graph("Mul", graph.cast(x, graph.dtype), graph.constant(network.byte_factor))
    return graph.input("x", graph.dtype, columns)


def _encoded_columns(graph: Graph, preprocessing: Preprocessing, encoding: Encoding) -> str:
    """Add an input per column, and the nodes that encode them as :class:`distbp.data.columns.encoding.Encoder` does."""
    numbers, references, codes = [], [], []
    for index, column in enumerate(preprocessing.columns):
        if not column.name:
            raise UsageError(
                f"feature column {index} has no name, which an input of ONNX needs: name it and train again"
            )
        if column.kind == DATE:
            numbers += date_parts(graph, graph.input(column.name, np.int64, 1))
            references += [number.reference for number in column.numbers]
        elif column.kind == CATEGORY:
            code_of = {value: code for code, value in enumerate(column.values)}
            codes.append(graph.codes(graph.input(column.name, object, 1), code_of) if column.is_used else "")
        else:
            numbers.append(graph.input(column.name, np.float64, 1))
            references.append(column.numbers[0].reference)
    parts = _encoded_numbers(graph, encoding, numbers, references) if len(encoding.numbers.positions) else []
    parts += _encoded_categories(graph, encoding.categories, [code for code in codes if code])
    return graph("Concat", *parts, axis=1)


def _encoded_numbers(graph: Graph, encoding: Encoding, numbers: list[str], references: list[float]) -> list[str]:
    """Return the standardised numbers, the indicators of missing ones, and the pieces."""
    scaling, pieces = encoding.numbers, encoding.pieces
    together = graph("Concat", *numbers, axis=1)
    stored = graph.cast(graph("Sub", together, graph.constant(references, np.float64)), graph.dtype)
    source = _selected(graph, stored, scaling.positions)
    missing = graph("IsNaN", source)
    scaled = graph("Mul", graph("Sub", source, graph.constant(scaling.centre)), graph.constant(scaling.scale))
    parts = [graph("Where", missing, graph.constant(scaling.fill), scaled)]
    if len(scaling.marked):
        parts.append(graph.cast(_selected(graph, missing, scaling.marked), graph.dtype))
    if len(pieces.number):
        shifted = graph("Sub", _selected(graph, source, pieces.number), graph.constant(pieces.middle))
        sloped = graph("Mul", shifted, graph.constant(pieces.slope))
        clipped = graph("Max", graph("Min", sloped, graph.constant(1.0)), graph.constant(-1.0))
        is_missing = _selected(graph, missing, pieces.number)
        parts.append(graph("Where", is_missing, graph.constant(pieces.fill), clipped))
    return parts


def _selected(graph: Graph, values: str, columns: Any) -> str:
    return graph("Gather", values, graph.constant(columns, np.int64), axis=1)


def _encoded_categories(graph: Graph, encoding: CategoryEncoding, codes: list[str]) -> list[str]:
    """Return the one-hot inputs of each category that is used."""
    parts = []
    stops = [*(encoding.offsets - 1), len(encoding.inputs)][1:]
    for code, offset, stop in zip(codes, encoding.offsets, stops, strict=True):
        inputs = encoding.inputs[offset - 1 : stop]
        hot = graph("Gather", graph.constant(inputs, np.int64), graph("Add", code, graph.constant(1, np.int64)))
        columns = np.arange(inputs.min(), inputs.max() + 1)
        parts.append(graph.cast(graph("Equal", hot, graph.constant(columns, np.int64)), graph.dtype))
    return parts
