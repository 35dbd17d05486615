"""What is to be trained: settings, data and a given network brought together, with nothing left open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from distbp.config import Config, Settings
from distbp.data.dataset import Array, DataSet
from distbp.data.epoch_order import EpochOrder
from distbp.data.hold_out import held_out
from distbp.data.memory import ROWS_MEASURED, check_memory
from distbp.errors import DataError, UsageError, unknown_name
from distbp.model.network import Network
from distbp.nn.structure import Structure, check_custom_functions
from distbp.optim import check_custom_rule
from distbp.randomness import Purpose


def with_network(config: Config, network: Network) -> Config:
    """Return the settings with the network's own in their place."""
    structure = network.structure
    hidden: tuple[Any, ...] = structure.activations[:-1]
    activation = hidden[0] if len(set(hidden)) == 1 else hidden or config.activation
    return replace(
        config,
        hidden=structure.sizes[1:-1],
        activation=activation,
        output=structure.activations[-1],
        cost=structure.cost,
        dtype=network.weights.dtype.name,
    )


def settle(config: Config, data: DataSet, network: Network | None) -> tuple[Settings, Structure]:
    """Return the settings with nothing left open, and the structure they make with these data.

    Raises:
        UsageError: the settings do not go together with the data or the network.
        DataError: the targets are none for this cost.
    """
    settings = config.settled(data.task)
    _check_targets(settings.cost, data)
    steps = settings.epochs * EpochOrder.of(settings, len(data.train)).steps_per_epoch
    if settings.warmup >= steps:
        raise UsageError(f"warmup takes {settings.warmup} steps, the whole run has {steps}: it must leave some")
    if network is not None:
        structure = network.structure
        expected = (data.features, _outputs(structure.cost, data))
        if (structure.sizes[0], structure.sizes[-1]) != expected:
            raise UsageError(
                f"the network has inputs and outputs {structure.sizes[0]}, {structure.sizes[-1]}, "
                f"the data need {expected[0]}, {expected[1]}"
            )
    else:
        sizes = (data.features, *settings.hidden, _outputs(settings.cost, data))
        structure = Structure(sizes, (*settings.hidden_activations, settings.output), settings.cost)
    rows, x = min(ROWS_MEASURED, max(len(data.train), len(data.test))), data.train.x
    each = data.features * np.dtype(settings.dtype).itemsize + x.shape[1] * x.dtype.itemsize
    check_memory(
        rows * each, f"{rows:,} rows of {data.features:,} inputs at a time", "the rows need fewer numbers each"
    )
    check_custom_functions(structure, settings.dtype)
    check_custom_rule(settings, steps)
    return settings, structure


def _check_targets(cost: object, data: DataSet) -> None:
    """Refuse values that a cost cannot be computed for."""
    if data.classes or cost not in ("poisson", "binary-cross-entropy"):
        return
    for part in filter(None, (data.train, data.validation, data.test)):
        bad = (part.y < 0) | ((part.y > 1) if cost == "binary-cross-entropy" else False)
        if bad.any():
            row = int(bad.any(axis=1).argmax())
            expected = "a probability in 0..1" if cost == "binary-cross-entropy" else "a count of at least 0"
            value = part.y[row][bad[row].argmax()]
            raise DataError(f"a target of row {row} is {value:g}: cost {cost} needs {expected}")


def with_parts(config: Config, data: DataSet) -> DataSet:
    """Return the data with the validation part held out and the weights of the classes in those of the rows.

    Raises:
        DataError: there are too few rows, or those held out count nothing.
        UsageError: a weight is for no class, or rows that could be learnt from count nothing.
    """
    train = data.train
    validation = data.validation
    if config.validation_fraction and validation is None:
        by_class = bool(data.classes)
        held = held_out(train.y, config.validation_fraction, config.seed, by_class, Purpose.VALIDATION_SPLIT)
        validation, train = train[held], train[~held]
    if validation is not None and validation.weights is not None and not validation.weights.any():
        raise DataError(
            f"the weights of all {len(validation)} rows held out for validation are 0: at least one must count, "
            "so try another seed or a larger validation_fraction"
        )
    if config.class_weights is not None and data.classes:
        each = _class_weights(config.class_weights, data.classes, train.y)[train.y].astype(config.dtype)
        counts = each if train.weights is None else each * train.weights
        if not counts.any():
            raise UsageError("class_weights and weights together leave no row that counts")
        train = replace(train, weights=counts)
    return replace(data, train=train, validation=validation)


def _class_weights(wanted: str | Mapping[Any, float], classes: Sequence[Any], y: Array) -> Array:
    """Return the weight of each class's rows: as requested, or balanced so that all classes count equally."""
    if isinstance(wanted, str):
        found = np.bincount(y, minlength=len(classes))
        return len(y) / (len(classes) * np.maximum(found, 1))
    named = {str(name): weight for name, weight in wanted.items()}
    for name in named:
        if name not in map(str, classes):
            raise unknown_name("class in class_weights", name, map(str, classes))
    return np.array([named.get(str(name), 1.0) for name in classes])


def _outputs(cost: str, data: DataSet) -> int:
    """Return m_L: a node per class or value; two classes under binary cross-entropy need only one."""
    return 1 if cost == "binary-cross-entropy" and len(data.classes) == 2 else data.outputs


def notes(config: Settings, data: DataSet) -> list[str]:
    """Return what the user should know about these settings with these data."""
    told = []
    if config.batch_size > len(data.train):
        told.append(
            f"--batch-size {config.batch_size} is more than the {len(data.train)} training rows: "
            "each epoch is one step over all of them"
        )
    if not config.workers.is_auto and config.workers.most > config.shards:
        told.append(
            f"{config.workers.most - config.shards} of {config.workers.most} workers stay idle: a mini-batch has "
            f"{config.shards} shards; --shards {config.workers.most} would use them (and give other bits)"
        )
    return told
