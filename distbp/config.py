"""Every setting of a run in one frozen object that is checked when it is built."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from distbp.errors import UsageError, unknown_name

ActivationName = Literal["sigmoid", "tanh", "relu", "identity", "softmax"]
CostName = Literal["cross-entropy", "binary-cross-entropy", "mse"]
InitialName = Literal["he", "glorot"]
OptimizerName = Literal["sgd", "adam"]
DtypeName = Literal["float32", "float64"]
TaskName = Literal["classification", "regression"]

CHOICES: Mapping[str, tuple[str, ...]] = {
    "activation": tuple(name for name in get_args(ActivationName) if name != "softmax"),
    "output": get_args(ActivationName),
    "cost": get_args(CostName),
    "initial": get_args(InitialName),
    "optimizer": get_args(OptimizerName),
    "dtype": get_args(DtypeName),
    "task": get_args(TaskName),
}
"""The known names of each setting that is a name."""

_OPEN = {"output", "cost", "initial", "lr", "momentum", "task", "shards", "address"}
"""The settings that may be None: their defaults follow from others, or they are for some runs alone."""

NEVER_CHANGES_THE_RESULT = frozenset({"workers", "timeout", "wait", "address", "checkpoint_seconds"})
"""The settings that say who computes and how it is watched."""

_DEFAULT_LR = {"sgd": 0.1, "adam": 0.001}
_MOST_SECONDS = 1_000_000
_MOST_DROPOUT = 0.99
_ROWS_PER_SHARD = 64
_MOST_SHARDS = 4


def default_shards(batch_size: int) -> int:
    """Return the largest power of two up to 4 that leaves 64 rows per shard.

    It looks at the mini-batch alone: shards are part of the mathematics, so they must not depend on who computes.

    >>> [default_shards(rows) for rows in (1, 64, 127, 128, 256, 100_000)]
    [1, 1, 1, 2, 4, 4]
    """
    shards = 1
    while shards < _MOST_SHARDS and batch_size >= 2 * shards * _ROWS_PER_SHARD:
        shards *= 2
    return shards


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of a run, by the names of the command's options.

    A setting that is ``None`` gets its default from the others when the object is built; ``cost``, ``output`` and
    ``task`` stay ``None`` until :meth:`for_task` has seen the data.

    >>> Config(batch_size=256).shards
    4
    >>> Config(optimizer="adam", momentum=0.9)
    Traceback (most recent call last):
    distbp.errors.UsageError: momentum belongs to sgd, the optimizer is adam: leave it out or choose sgd
    """

    # the network
    hidden: tuple[int, ...] = (128,)
    """Nodes of each hidden layer, from the input on; empty for none."""
    activation: str = "relu"
    """Of the hidden layers."""
    output: str | None = None
    """Activation of the output layer (by cost: softmax, sigmoid; for mse identity in regression, else sigmoid)."""
    cost: str | None = None
    """Cost C of an example (by task: cross-entropy or mse)."""
    initial: str | None = None
    """Scheme of the initial weights (he for relu, else glorot)."""
    dtype: str = "float32"
    """Arithmetic of the whole run."""

    # the descent
    optimizer: str = "adam"
    lr: float | None = None
    """Step size (0.1 for sgd, 0.001 for adam)."""
    momentum: float | None = None
    """Share of the last update that is kept, 0 <= momentum < 1 (0.9 for sgd)."""
    nesterov: bool = False
    """Look ahead along the momentum; sgd alone."""
    batch_size: int = 128
    """Rows per mini-batch."""
    epochs: int = 20
    """Passes over the training data."""
    dropout: float = 0.0
    """Share of the hidden nodes that each step leaves out."""
    seed: int = 0
    """Fixes everything random."""

    # the data
    task: str | None = None
    """What the targets are (guessed from them)."""
    test_fraction: float = 0.2
    """Share of the rows held out where the data bring no test part of their own."""

    # who computes, what is computed
    workers: int | str = "auto"
    """Worker actors; 0 computes in the calling process, without Ray; ``auto`` measures which is quicker; ``A..B``
    begins with A and takes up to B as they come. Never changes the result."""
    shards: int | None = None
    """Parts of a mini-batch, the unit of gradient computation; part of the result (see default_shards)."""
    threads: int = 1
    """BLAS threads per shard; part of the result."""
    timeout: float = 10.0
    """Seconds of silence after which a peer counts as lost."""
    wait: float = 60.0
    """Seconds to wait for the cluster's resources."""
    address: str | None = None
    """Existing Ray cluster, HOST:PORT or auto; without it a private local one."""

    checkpoint_seconds: float = 30.0
    """Seconds between checkpoints within an epoch; there is one at the end of each epoch in any case."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) is None and field.name not in _OPEN:
                raise UsageError(f"{field.name} must have a value, found None")
        for name, value in vars(self).copy().items():
            object.__setattr__(self, name, _plain(value))
        if not isinstance(self.hidden, list | tuple):
            raise UsageError(f"hidden must be a list of layer sizes, found {self.hidden!r}")
        object.__setattr__(self, "hidden", tuple(_plain(size) for size in self.hidden))
        if not isinstance(self.nesterov, bool):
            raise UsageError(f"nesterov must be true or false, found {self.nesterov!r}")
        _check_names(self)
        _check_numbers(self)
        if self.address is not None:
            _check_address(self.address)
        if self.optimizer != "sgd" and (self.momentum is not None or self.nesterov):
            what = "nesterov" if self.momentum is None else "momentum"
            raise UsageError(f"{what} belongs to sgd, the optimizer is {self.optimizer}: leave it out or choose sgd")
        if self.nesterov and self.momentum == 0:
            raise UsageError("nesterov needs a momentum above 0, found 0")
        self._default("initial", "he" if self.activation == "relu" else "glorot")
        self._default("lr", _DEFAULT_LR[self.optimizer])
        self._default("momentum", 0.9 if self.optimizer == "sgd" else None)
        self._default("shards", default_shards(self.batch_size))

    @property
    def worker_count(self) -> int:
        """The largest number of workers, once it is no longer open."""
        return self._worker_range()[1]

    @property
    def least_workers(self) -> int:
        """The number of workers with which the run may begin."""
        return self._worker_range()[0]

    def _worker_range(self) -> tuple[int, int]:
        if isinstance(self.workers, int):
            return self.workers, self.workers
        if self.workers == "auto":
            raise ValueError("the number of workers is still open")
        least, _, most = self.workers.partition("..")
        return int(least), int(most)

    def _default(self, name: str, value: object) -> None:
        if getattr(self, name) is None:
            object.__setattr__(self, name, value)

    def for_task(self, task: str) -> Config:
        """Return these settings with ``task``, ``cost`` and ``output`` filled in."""
        cost = self.cost or ("cross-entropy" if task == "classification" else "mse")
        if task == "regression" and cost != "mse":
            raise UsageError(f"cost {cost} is for classes, the task is regression: use --cost mse")
        if self.output is not None:
            output = self.output
        elif cost == "mse":
            output = "identity" if task == "regression" else "sigmoid"
        else:
            output = "softmax" if cost == "cross-entropy" else "sigmoid"
        return replace(self, task=task, cost=cost, output=output)

    def to_json(self) -> dict[str, Any]:
        """Return every setting, also the defaulted ones, as JSON's types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Config:
        """Build from settings by name.

        Raises:
            UsageError: a name is unknown (with the nearest known one) or a value is out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise unknown_name("setting", name, known)
        return cls(**settings)


def _check_names(config: Config) -> None:
    for setting, known in CHOICES.items():
        name = getattr(config, setting)
        if name is not None and name not in known:
            raise unknown_name(setting, str(name), known)


def _check_numbers(config: Config) -> None:
    for index, size in enumerate(config.hidden):
        _whole(f"hidden layer {index + 1}", size, least=1)
    for name, least in {"batch_size": 1, "epochs": 1, "seed": 0, "shards": 1, "threads": 1}.items():
        value = getattr(config, name)
        if value is not None:
            _whole(name, value, least)
    _check_workers(config.workers)
    if config.seed >= 2**64:
        raise UsageError(f"seed must be below 2**64, found {config.seed}")
    seconds = dict.fromkeys(("timeout", "wait", "checkpoint_seconds"), _MOST_SECONDS)
    for name, most in {"lr": sys.float_info.max, **seconds}.items():
        value = getattr(config, name)
        if value is not None and not (_is_number(value) and 0 < value < most):
            raise UsageError(f"{name} must be a finite number above 0 and below {most:g}, found {value!r}")
    if config.momentum is not None and not (_is_number(config.momentum) and 0 <= config.momentum < 1):
        raise UsageError(f"momentum must be at least 0 and below 1, found {config.momentum!r}")
    if not (_is_number(config.dropout) and 0 <= config.dropout <= _MOST_DROPOUT):
        raise UsageError(f"dropout must be at least 0 and at most {_MOST_DROPOUT}, found {config.dropout!r}")
    if not (_is_number(config.test_fraction) and 0 < config.test_fraction < 1):
        raise UsageError(f"test_fraction must lie between 0 and 1, found {config.test_fraction!r}")


def _check_workers(workers: int | str) -> None:
    least, dots, most = str(workers).partition("..")
    if workers == "auto" or (dots and least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most)):
        return
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 0:
        raise UsageError(
            f"workers must be a whole number of at least 0, auto, or a range such as 2..6; found {workers!r}"
        )


def _check_address(address: str) -> None:
    """Check the form of a cluster's address; whether somebody answers there is found out later."""
    host, _, port = str(address).rpartition(":")
    well_formed = bool(host) and "://" not in address and port.isdecimal() and port.isascii() and 0 < int(port) < 65536
    if address != "auto" and not well_formed:
        raise UsageError(f"address must be HOST:PORT as seen from a node of the cluster, or auto; found {address!r}")


def _plain(value: Any) -> Any:
    """Return a NumPy number, as pipelines have them, as Python's own."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < sys.float_info.max


def _whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} must be a whole number of at least {least}, found {value!r}")
