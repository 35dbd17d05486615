"""The network that a user works with: structure, weights, classes and preprocessing, and the predictions from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from distbp.config import Config, default_initial, name_of
from distbp.data.checks import features, numbers, target_values
from distbp.data.columns.encoding import encode
from distbp.data.columns.preprocessing import Preprocessing
from distbp.data.dataset import PIXEL_FACTOR, Array, Gather, Rows
from distbp.data.lazy import as_rows
from distbp.data.tables.transform import named_table, transform_table
from distbp.data.targets import class_numbers
from distbp.errors import DataError, RunError, UsageError
from distbp.model.files import load_model, save_model
from distbp.nn.backprop import Backprop, Workspace
from distbp.nn.costs import chosen_classes
from distbp.nn.initialization import initial_weights
from distbp.nn.scores import Evaluation as Evaluation
from distbp.nn.scores import Predictions, r2_score
from distbp.nn.structure import Structure
from distbp.nn.trace import Trace
from distbp.nn.trace import trace as trace_rows
from distbp.system.blas import one_thread

_ROWS_AT_ONCE = 1024


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
        activation: Any = "relu",
        output: Any = "softmax",
        cost: Any = "cross-entropy",
        *,
        connections: Sequence[Any] = (),
        initial: str | None = None,
        seed: int = 0,
        dtype: str = "float32",
        classes: Sequence[Any] = (),
    ) -> None:
        """Build a network with initial weights.

        Args:
            sizes: nodes of each layer, the input first and the output last.
            activation: activation of the hidden layers: a name or an object, or a list with one for each layer.
            output: activation of the output layer.
            cost: the cost that training minimises.
            connections: for each layer an array of w's shape with 1 for a connection and 0 for none, or None for all
                connections. A weight without a connection stays 0 ("set the weight to 0 if a connection is not
                needed").
            initial: ``he`` or ``glorot``; None for he if an activation is similar to relu, otherwise glorot.
            seed: determines the initial weights.
            dtype: ``float32`` or ``float64``.
            classes: the class of each output; training fills them in. Empty for regression.
        """
        # Config checks the names, the seed and the sizes
        config = Config(
            hidden=tuple(sizes[1:-1]),
            activation=activation,
            output=output,
            cost=cost,
            initial=initial,
            seed=seed,
            dtype=dtype,
        )
        chosen = tuple(None if each is None else np.asarray(each) for each in connections)
        self.structure = Structure(tuple(sizes), (*config.hidden_activations, output), cost, chosen)
        self.weights: Array = initial_weights(
            self.structure, initial or default_initial(config.activation), seed, dtype
        )
        self.classes = check_classes(classes, self.structure)
        self.byte_factor = PIXEL_FACTOR
        self.preprocessing: Preprocessing | None = None
        """The columns of the training table; None after training on arrays."""
        self.has_sums = True
        """False if it was loaded from files without checksums, which older versions wrote."""

    @classmethod
    def of(
        cls,
        structure: Structure,
        weights: Array,
        classes: Sequence[Any] = (),
        byte_factor: float = PIXEL_FACTOR,
        preprocessing: Preprocessing | None = None,
    ) -> Self:
        """Return the network of this structure and flat parameter vector; ``byte_factor`` scales unsigned bytes."""
        network = cls.__new__(cls)
        network.byte_factor, network.preprocessing, network.has_sums = byte_factor, preprocessing, True
        network.structure, network.weights, network.classes = structure, weights, tuple(classes)
        return network

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return self.structure.parameter_count

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` and ``model.json`` into ``folder``."""
        meaning = {"classes": list(self.classes), "byte_factor": self.byte_factor}
        if self.preprocessing is not None:
            meaning["preprocessing"] = self.preprocessing.to_json()
        save_model(Path(folder), self.structure, self.weights, meaning)

    @classmethod
    def load(cls, folder: str | Path, own: Sequence[Any] = ()) -> Self:
        """Read a network that was saved, or the one in a run directory.

        ``own`` are the activations and the cost of your own that it uses: the files have only their names.
        """
        structure, weights, meaning, has_sums = load_model(Path(folder), {name_of(part): part for part in own})
        try:
            classes, byte_factor = check_classes(meaning["classes"], structure), float(meaning["byte_factor"])
            content = meaning.get("preprocessing")
            preprocessing = None if content is None else Preprocessing.from_json(content)
            if preprocessing is not None and preprocessing.inputs != structure.sizes[0]:
                raise ValueError(f"its columns make {preprocessing.inputs} inputs of {structure.sizes[0]}")
        except (KeyError, ValueError) as error:
            raise RunError(f"{Path(folder) / 'model.json'} names no usable classes or columns: {error}") from error
        network = cls.of(structure, weights, classes, byte_factor, preprocessing)
        network.has_sums = has_sums
        return network

    def outputs(self, x: Any) -> Array:
        """Return a^L of each row, shape (rows, m_L)."""
        return self.answers(x).outputs

    def answers(self, x: Any) -> Predictions:
        """Return the outputs and the class numbers of each row."""
        table = self._features(x)
        outputs = np.empty((len(table), self.structure.sizes[-1]), self.weights.dtype)
        chosen = np.empty(len(table) if self.classes else 0, np.int64)
        start = 0
        with one_thread():
            for work in self._forward(table):
                part = slice(start, start + len(work.a[-1]))
                outputs[part] = work.a[-1]
                if self.classes:
                    chosen[part] = chosen_classes(self.structure.sigmas[-1], work.z[-1], work.a[-1])
                start = part.stop
        return Predictions(outputs, chosen, not self.classes or self.structure.activations[-1] == "softmax")

    def probabilities(self, x: Any) -> Array:
        """Return each class's probability, shape (rows, classes), in their order (see :class:`Predictions`)."""
        return self.answers(x).probabilities

    def predict(self, x: Any) -> Array:
        """Return the class of each row; in regression its values, in the unit of the training targets.

        ``x`` has shape (rows, m_0) and may be sparse. It holds floats, or unsigned bytes, which are scaled as in
        training (from 0..255 to 0..1 without training). A network that was trained on a table also takes tables
        (pandas, Arrow, polars), with the columns in any order, and rows of a loaded data set (``load(..).test.x``).

        Raises:
            DataError: a column is missing, or ``x`` has another number of columns.
        """
        if not self.classes:
            return self.in_own_unit(self.outputs(x))
        predicted: Array = np.asarray(self.classes)[self.answers(x).chosen]
        return predicted

    def in_own_unit(self, outputs: Array) -> Array:
        """Return the network's outputs in the unit of the targets of its training table."""
        if self.preprocessing is None or self.classes:
            return outputs
        return self.preprocessing.target.in_own_unit(outputs)

    def evaluate(self, x: Any, y: Any) -> Evaluation:
        """Return the cost and the scores for these rows; targets are classes or values as in training.

        Raises:
            DataError: rows and targets do not match, or a target is none of the classes.
        """
        table = self._features(x)
        factor = self.byte_factor if table.dtype == np.uint8 else 1.0
        return evaluate(self, Rows(table, self.targets(y, len(table)), factor))

    def trace(self, x: Any, y: Any) -> Trace:
        """Return z, a, delta, dC/dw and dC/db of every layer for these rows and targets; ``trace[l]`` is layer l.

        >>> network = Network((2, 3, 2), "sigmoid", seed=1, classes=("no", "yes"))
        >>> trace = network.trace([[0.0, 1.0]], ["yes"])
        >>> bool(np.allclose(trace[2].z, trace[1].a @ network.structure.layers(network.weights)[1].w.T))
        True
        >>> bool(np.allclose(trace[2].dc_dw, trace[2].delta.T @ trace[1].a))
        True
        """
        table = numbers(self._features(x), self.weights.dtype.name, self.byte_factor)
        with one_thread():
            return trace_rows(self.structure, self.weights, table, self.targets(y, len(table)))

    def targets(self, y: Any, rows: int, first: int = 0) -> Array:
        """Return the targets of ``rows`` rows in the form of training: class numbers, or standardised values.

        ``first`` is the number of the first row, for messages.
        """
        targets = np.asarray(y)
        if targets.ndim == 0 or len(targets) != rows:
            raise DataError(f"found {rows} rows but targets of shape {targets.shape}: each row needs one")
        if self.classes:
            return class_numbers(targets, self.classes, "y", first)
        measured = target_values(self._standardised(targets), "y", self.weights.dtype.name)
        if measured.shape[1] != self.structure.sizes[-1]:
            raise DataError(f"y has {measured.shape[1]} values per row, the network {self.structure.sizes[-1]}")
        return measured

    def _standardised(self, targets: Array) -> Array:
        if self.preprocessing is None or targets.dtype.kind not in "buif":
            return targets
        target = self.preprocessing.target
        return (targets - target.mean) / target.deviation

    def _features(self, x: Any) -> Any:
        """Return x as a checked table of inputs, or of rows that become inputs block by block."""
        dtype = self.weights.dtype.name
        if self.preprocessing is not None:
            table = named_table(x)
            stored = np.asarray(x) if table is None else transform_table(table, self.preprocessing, dtype)
            encoding = self.preprocessing.encoding(dtype)
            if encoding is not None:
                if stored.ndim != 2 or stored.shape[1] != self.preprocessing.stored_columns:
                    raise DataError(
                        f"x has the shape {stored.shape}, the network was trained on a table of "
                        f"{self.preprocessing.stored_columns} columns"
                    )
                return encode(encoding, stored.astype(dtype, copy=False))
            x = stored
        rows = features(as_rows(x), "x", dtype)
        if rows.shape[1] != self.structure.sizes[0]:
            raise DataError(f"x has {rows.shape[1]} columns, the network was made for {self.structure.sizes[0]}")
        return rows

    def _forward(self, table: Any) -> Iterator[Workspace]:
        """Yield z and a block by block; the size of a block is fixed, since the bits depend on it."""
        backprop = Backprop(self.structure, min(_ROWS_AT_ONCE, len(table)), self.weights.dtype.name)
        layers = self.structure.layers(self.weights)
        for start in range(0, len(table), _ROWS_AT_ONCE):
            x = numbers(table[start : start + _ROWS_AT_ONCE], self.weights.dtype.name, self.byte_factor)
            with np.errstate(over="ignore", invalid="ignore"):
                work = backprop.forward(layers, x)
            yield work


def check_classes(classes: Sequence[Any], structure: Structure) -> tuple[Any, ...]:
    """Return the classes as a tuple; refuse them if their number does not fit the output layer."""
    outputs = structure.sizes[-1]
    if len(classes) not in (0, 2 if outputs == 1 else outputs):
        raise UsageError(f"an output layer of {outputs} nodes cannot stand for {len(classes)} classes")
    return tuple(classes)


def evaluate(network: Network, rows: Rows) -> Evaluation:
    """Return the cost and the scores of a network for rows in the form that training uses.

    The cost is the weighted mean sum w_i C_i / sum w_i over the rows; the other scores count each row once.
    """
    structure = network.structure
    dtype = network.weights.dtype.name
    block = min(_ROWS_AT_ONCE, len(rows))
    backprop, gather = Backprop(structure, block, dtype), Gather(rows, block, dtype)
    layers = structure.layers(network.weights)
    cost, right = 0.0, 0
    squares = np.zeros(structure.sizes[-1])
    with one_thread(), np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            x, y = gather(np.arange(start, min(start + _ROWS_AT_ONCE, len(rows))))
            sums = backprop.sums(layers, x, y, gather.weights)
            cost, right = cost + sums.cost, right + sums.right
            if not network.classes:
                squares += np.square(y.astype(np.float64) - backprop.forward(layers, x).a[-1]).sum(axis=0)
    mean_cost = cost / (len(rows) if rows.weights is None else float(rows.weights.sum(dtype=np.float64)))
    if network.classes:
        return Evaluation(len(rows), mean_cost, right / len(rows), None, None)
    unit = network.preprocessing.target.deviation if network.preprocessing is not None else 1.0
    rmse = unit * float(np.sqrt(squares.sum() / rows.y.size))
    return Evaluation(len(rows), mean_cost, None, rmse, r2_score(rows.y, squares))
