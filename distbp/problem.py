"""What is to be trained: settings, data and a given network brought together, with nothing left open."""

from __future__ import annotations

from dataclasses import replace

from distbp.config import Config
from distbp.data.dataset import DataSet
from distbp.errors import UsageError
from distbp.network import Network
from distbp.nn.structure import Structure


def with_network(config: Config, network: Network) -> Config:
    """Return the settings with the network's own in their place."""
    structure = network.structure
    hidden = structure.activations[:-1]
    return replace(
        config,
        hidden=structure.sizes[1:-1],
        activation=hidden[0] if hidden else config.activation,
        output=structure.activations[-1],
        cost=structure.cost,
        dtype=network.weights.dtype.name,
    )


def settle(config: Config, data: DataSet, network: Network | None) -> tuple[Config, Structure]:
    """Return the settings with nothing left open, and the structure they make with these data."""
    config = config.for_task(data.task)
    if network is not None:
        structure = network.structure
        expected = (data.features, _outputs(structure.cost, data))
        if (structure.sizes[0], structure.sizes[-1]) != expected:
            raise UsageError(
                f"the network has inputs and outputs {structure.sizes[0]}, {structure.sizes[-1]}, "
                f"the data need {expected[0]}, {expected[1]}"
            )
        return config, structure
    assert config.output is not None and config.cost is not None
    sizes = (data.features, *config.hidden, _outputs(config.cost, data))
    return config, Structure(sizes, (*[config.activation] * len(config.hidden), config.output), config.cost)


def _outputs(cost: str, data: DataSet) -> int:
    """Return m_L: a node per class or value; two classes under binary cross-entropy need only one."""
    return 1 if cost == "binary-cross-entropy" and data.outputs == 2 else data.outputs


def notes(config: Config, data: DataSet) -> list[str]:
    """Return what the user should know about these settings with these data."""
    told = []
    assert config.shards is not None
    if config.batch_size > len(data.train):
        told.append(
            f"--batch-size {config.batch_size} is more than the {len(data.train)} training rows: "
            "each epoch is one step over all of them"
        )
    if config.workers != "auto" and config.worker_count > config.shards:
        told.append(
            f"{config.worker_count - config.shards} of {config.worker_count} workers stay idle: a mini-batch has "
            f"{config.shards} shards; --shards {config.worker_count} would use them (and give other bits)"
        )
    return told
