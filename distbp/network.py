"""A network as a user holds it: its structure, its weights, and what its outputs stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from distbp.config import Config
from distbp.data.checks import features, numbers
from distbp.data.dataset import PIXEL_FACTOR, Array, Gather, Rows
from distbp.data.targets import class_numbers, values
from distbp.errors import DataError, RunError, UsageError
from distbp.nn.activations import ACTIVATIONS
from distbp.nn.backprop import Backprop, Workspace
from distbp.nn.costs import chosen_classes
from distbp.nn.initial import initial_weights
from distbp.nn.structure import Structure
from distbp.runs.model import load_model, save_model

_ROWS_AT_ONCE = 1024


class Evaluation(NamedTuple):
    """How a network does on rows whose targets are known. What does not apply is None."""

    rows: int
    cost: float
    """Mean of the examples' costs."""
    accuracy: float | None
    """Share of the rows whose class is right."""
    rmse: float | None
    """Root of the mean squared error over rows and values."""
    r2: float | None
    """Share of the values' variance that is explained, averaged over the values of a row."""


class Network:
    """A layered, fully connected network with its weights.

    >>> network = Network((64, 32, 10), seed=1)
    >>> network.parameter_count
    2410
    >>> network.probabilities(np.zeros((2, 64))).shape
    (2, 10)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        output: str = "softmax",
        cost: str = "cross-entropy",
        *,
        initial: str | None = None,
        seed: int = 0,
        dtype: str = "float32",
        classes: Sequence[Any] = (),
    ) -> None:
        """Build a network with initial weights.

        Args:
            sizes: nodes of each layer, the input first and the output last.
            activation: of the hidden layers.
            output: of the output layer.
            cost: what training makes small.
            initial: ``he`` or ``glorot``; None for he with relu, else glorot.
            seed: fixes the initial weights.
            dtype: ``float32`` or ``float64``.
            classes: what the outputs stand for; training fills them in. Empty for values.
        """
        # The settings' own checks, for names, seed and sizes.
        config = Config(
            hidden=tuple(sizes[1:-1]), activation=activation, output=output, cost=cost, initial=initial, seed=seed,
            dtype=dtype,
        )  # fmt: skip
        assert config.initial is not None
        self.structure = Structure(tuple(sizes), (*[activation] * (len(sizes) - 2), output), cost)
        self.weights: Array = initial_weights(self.structure, config.initial, seed, dtype)
        self.classes = check_classes(classes, self.structure)
        self.byte_factor = PIXEL_FACTOR

    @classmethod
    def of(
        cls, structure: Structure, weights: Array, classes: Sequence[Any] = (), byte_factor: float = PIXEL_FACTOR
    ) -> Self:
        """Return the network of this structure and flat parameter vector; unsigned bytes count ``byte_factor``."""
        network = cls.__new__(cls)
        network.byte_factor = byte_factor
        network.structure, network.weights, network.classes = structure, weights, tuple(classes)
        return network

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return self.structure.parameter_count

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` and ``model.json`` into ``folder``."""
        save_model(
            Path(folder), self.structure, self.weights, {"classes": list(self.classes), "byte_factor": self.byte_factor}
        )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a network that was saved, or the one that a run left in its directory."""
        structure, weights, meaning = load_model(Path(folder))
        try:
            classes, byte_factor = check_classes(meaning["classes"], structure), float(meaning["byte_factor"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"model.json in {folder} names no usable classes: {error}") from error
        return cls.of(structure, weights, classes, byte_factor)

    def outputs(self, x: Any) -> Array:
        """Return a^L of each row: probabilities, or values; shape (rows, m_L)."""
        table = self._features(x)
        result = np.empty((len(table), self.structure.sizes[-1]), table.dtype)
        start = 0
        for work in self._forward(table):
            result[start : start + len(work.a[-1])] = work.a[-1]
            start += len(work.a[-1])
        return result

    def probabilities(self, x: Any) -> Array:
        """Return each class's probability, shape (rows, classes), in the order of ``classes``."""
        a = self.outputs(x)
        return np.hstack([1 - a, a]) if a.shape[1] == 1 else a

    def predict(self, x: Any) -> Array:
        """Return the class of each row, or its values where the outputs are no classes.

        ``x`` has shape (rows, m_0) and holds floats, or unsigned bytes that are scaled as in training, without
        training from 0..255 to 0..1.
        """
        if not self.classes:
            return self.outputs(x)
        activation = ACTIVATIONS[self.structure.activations[-1]]
        chosen = [chosen_classes(activation, work.z[-1]) for work in self._forward(self._features(x))]
        predicted: Array = np.asarray(self.classes)[np.concatenate(chosen)]
        return predicted

    def evaluate(self, x: Any, y: Any) -> Evaluation:
        """Compare the network's answers with the targets, which are classes or values as in training.

        Raises:
            DataError: rows and targets do not match, or a target is none of the classes.
        """
        table, targets = self._features(x), np.asarray(y)
        if targets.ndim == 0 or len(targets) != len(table):
            raise DataError(f"found {len(table)} rows but targets of shape {targets.shape}: each row needs one")
        if self.classes:
            return evaluate(self, Rows(table, class_numbers(targets, self.classes, "y")))
        measured = values(targets, "y", self.weights.dtype.name)
        if measured.shape[1] != self.structure.sizes[-1]:
            raise DataError(f"y has {measured.shape[1]} values per row, the network {self.structure.sizes[-1]}")
        return evaluate(self, Rows(table, measured))

    def _features(self, x: Any) -> Array:
        dtype = self.weights.dtype.name
        table = numbers(features(np.asarray(x), "x", dtype), dtype, self.byte_factor)
        if table.shape[1] != self.structure.sizes[0]:
            raise DataError(f"x has {table.shape[1]} columns, the network was made for {self.structure.sizes[0]}")
        return table

    def _forward(self, table: Array) -> Iterator[Workspace]:
        """Yield z and a, block by block; the blocks' size is fixed, since the bits depend on it."""
        backprop = Backprop(self.structure, min(_ROWS_AT_ONCE, len(table)), self.weights.dtype.name)
        layers = self.structure.layers(self.weights)
        for start in range(0, len(table), _ROWS_AT_ONCE):
            yield backprop.forward(layers, table[start : start + _ROWS_AT_ONCE])


def check_classes(classes: Sequence[Any], structure: Structure) -> tuple[Any, ...]:
    """Return the classes as a tuple; refuse a number of them that the output layer cannot stand for."""
    outputs = structure.sizes[-1]
    if len(classes) not in (0, 2 if outputs == 1 else outputs):
        raise UsageError(f"an output layer of {outputs} nodes cannot stand for {len(classes)} classes")
    return tuple(classes)


def evaluate(network: Network, rows: Rows) -> Evaluation:
    """Compare a network with rows in the form that training uses, ``_ROWS_AT_ONCE`` at a time."""
    structure = network.structure
    dtype = network.weights.dtype.name
    block = min(_ROWS_AT_ONCE, len(rows))
    backprop, gather = Backprop(structure, block, dtype), Gather(rows, block, dtype)
    layers = structure.layers(network.weights)
    cost, right = 0.0, 0
    squares = np.zeros(structure.sizes[-1])
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            x, y = gather(np.arange(start, min(start + _ROWS_AT_ONCE, len(rows))))
            sums = backprop.sums(layers, x, y)
            cost, right = cost + sums.cost, right + sums.right
            if not network.classes:
                squares += np.square(y.astype(np.float64) - backprop.forward(layers, x).a[-1]).sum(axis=0)
    mean_cost = cost / len(rows)
    if network.classes:
        return Evaluation(len(rows), mean_cost, right / len(rows), None, None)
    spread = np.square(rows.y - rows.y.mean(axis=0, dtype=np.float64)).sum(axis=0)
    # values that do not vary at all cannot be explained: R2 is 1 where they are met, else 0
    varies = np.ptp(rows.y, axis=0) > 0
    explained = np.where(varies, 1 - squares / np.where(varies, spread, 1), squares == 0)
    return Evaluation(len(rows), mean_cost, None, float(np.sqrt(squares.sum() / rows.y.size)), float(explained.mean()))
