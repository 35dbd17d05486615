"""What stands in an ONNX graph in front of the first layer: from the rows as they are to the network's inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from distbp.data.columns.column import CATEGORY, DATE
from distbp.data.columns.encoding import Encoding
from distbp.data.columns.preprocessing import Preprocessing
from distbp.errors import UsageError
from distbp.interchange.onnx_dates import date_parts
from distbp.interchange.onnx_graph import Graph
from distbp.model.network import Network


def front(graph: Graph, network: Network, pixels: bool) -> str:
    """Take the rows in; return them as what the first layer expects."""
    told = network.preprocessing
    encoding = None if told is None else told.encoding(graph.dtype)
    if told is not None and encoding is not None:
        return _table(graph, told, encoding)
    columns = network.structure.sizes[0]
    if pixels or told is not None:
        x = graph.input("x", np.uint8, columns)
        return graph("Mul", graph.cast(x, graph.dtype), graph.constant(network.byte_factor))
    return graph.input("x", graph.dtype, columns)


def _table(graph: Graph, told: Preprocessing, encoding: Encoding) -> str:
    """Take the columns of a table in and do what :class:`distbp.data.columns.encoding.Encoder` does with them."""
    numbers, references, codes = [], [], []
    for place, column in enumerate(told.columns):
        if not column.name:
            raise UsageError(
                f"feature column {place} has no name, which an input of ONNX needs: name it and train again"
            )
        if column.kind == DATE:
            numbers += date_parts(graph, graph.input(column.name, np.int64, 1))
            references += [number.reference for number in column.numbers]
        elif column.kind == CATEGORY:
            known = {value: code for code, value in enumerate(column.values)}
            codes.append(graph.codes(graph.input(column.name, object, 1), known) if column.is_used else "")
        else:
            numbers.append(graph.input(column.name, np.float64, 1))
            references.append(column.numbers[0].reference)
    parts = _numbers(graph, encoding, numbers, references) if len(encoding.numbers) else []
    parts += _categories(graph, encoding, [code for code in codes if code])
    return graph("Concat", *parts, axis=1)


def _numbers(graph: Graph, encoding: Encoding, numbers: list[str], references: list[float]) -> list[str]:
    """Return the standardised numbers, which of them are missing, and their pieces."""
    whole = graph("Concat", *numbers, axis=1)
    kept = graph.cast(graph("Sub", whole, graph.constant(references, np.float64)), graph.dtype)
    source = _chosen(graph, kept, encoding.numbers)
    missing = graph("IsNaN", source)
    scaled = graph("Mul", graph("Sub", source, graph.constant(encoding.centre)), graph.constant(encoding.scale))
    parts = [graph("Where", missing, graph.constant(encoding.fill), scaled)]
    if len(encoding.marked):
        parts.append(graph.cast(_chosen(graph, missing, encoding.marked), graph.dtype))
    if len(encoding.piece_of):
        shifted = graph("Sub", _chosen(graph, source, encoding.piece_of), graph.constant(encoding.middle))
        pieces = graph("Mul", shifted, graph.constant(encoding.slope))
        pieces = graph("Max", graph("Min", pieces, graph.constant(1.0)), graph.constant(-1.0))
        unknown = _chosen(graph, missing, encoding.piece_of)
        parts.append(graph("Where", unknown, graph.constant(encoding.piece_fill), pieces))
    return parts


def _chosen(graph: Graph, values: str, places: Any) -> str:
    return graph("Gather", values, graph.constant(places, np.int64), axis=1)


def _categories(graph: Graph, encoding: Encoding, codes: list[str]) -> list[str]:
    """Return the one-hot inputs of each category that is used."""
    parts = []
    stops = [*(encoding.first - 1), len(encoding.inputs)][1:]
    for code, first, stop in zip(codes, encoding.first, stops, strict=True):
        inputs = encoding.inputs[first - 1 : stop]
        place = graph("Gather", graph.constant(inputs, np.int64), graph("Add", code, graph.constant(1, np.int64)))
        places = np.arange(inputs.min(), inputs.max() + 1)
        parts.append(graph.cast(graph("Equal", place, graph.constant(places, np.int64)), graph.dtype))
    return parts
