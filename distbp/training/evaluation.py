"""Evaluates the weights of a run on its test and validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distbp.data.dataset import PIXEL_FACTOR, Array, DataSet
from distbp.model.network import Evaluation, Network, evaluate
from distbp.nn.structure import Structure

_ROWS_EXAMINED = 1024
"""Test rows on which saturated and dead units are counted."""


class Evaluator:
    """Makes networks from weights and evaluates them; it keeps the test and validation rows, not the training rows."""

    def __init__(self, structure: Structure, data: DataSet) -> None:
        self.structure = structure
        self.test, self.validation = data.test, data.validation
        self.classes, self.preprocessing = data.classes, data.preprocessing
        self._byte_factor = data.train.factor if data.train.x.dtype == np.uint8 else PIXEL_FACTOR
        self.examined: Array = np.asarray(data.test.x[:_ROWS_EXAMINED])
        """Inputs on which saturated and dead units are counted."""

    @property
    def columns(self) -> Sequence[tuple[str, str, str]]:
        """Name, content and treatment of each column of a table; empty for arrays."""
        return self.preprocessing.described() if self.preprocessing is not None else ()

    def network(self, weights: Array) -> Network:
        """Return the network with these weights."""
        return Network.of(self.structure, weights, self.classes, self._byte_factor, self.preprocessing)

    def measure(self, network: Network) -> dict[str, Any]:
        """Return costs and scores on the test and validation rows, by their names in the summary."""
        measured = _named("test", evaluate(network, self.test))
        if self.validation is not None:
            measured |= _named("validation", evaluate(network, self.validation))
        return measured


def _named(part: str, evaluation: Evaluation) -> dict[str, Any]:
    scores = evaluation._asdict()
    return {f"{part}_{name}": scores[name] for name in ("cost", "accuracy", "rmse", "r2") if scores[name] is not None}
