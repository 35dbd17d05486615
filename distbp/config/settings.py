"""The settings of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from distbp.config import checks
from distbp.config.choices import check_choice, name_of
from distbp.config.shards import default_shards
from distbp.config.workers import Workers
from distbp.errors import UsageError, brief, unknown_name

_OPEN = {
    "output", "cost", "initial", "lr", "momentum", "weight_decay", "clip_value", "clip_norm", "max_norm",
    "class_weights", "early_stopping", "task", "shards", "address", "servers", "target", "weights", "separator",
    "header", "test_file", "host_ports",
}  # fmt: skip
"""The settings that may be None: their defaults follow from others, or they are for some runs alone."""

NEVER_CHANGES_THE_RESULT = frozenset(
    {"workers", "timeout", "wait", "address", "insecure", "servers", "host_ports", "checkpoint_seconds"}
)
"""The settings that say who computes and how it is watched."""

_DEFAULT_LR = {"sgd": 0.1, "adagrad": 0.01, "rmsprop": 0.001, "adam": 0.001, "adamw": 0.001, "lion": 0.0003}
_DECAYING = ("adamw", "lion")
_LIKE_RELU = {"relu", "leaky-relu", "elu", "gelu", "softplus", "swish"}
_FOR_CLASSES = ("cross-entropy", "binary-cross-entropy")


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
    activation: Any = "relu"
    """Of the hidden layers: a name or an object (see distbp.nn.custom) for all, or a list with one for each."""
    output: Any = None
    """Activation of the output layer (by cost: softmax, sigmoid, softplus; else by task: identity, sigmoid)."""
    cost: Any = None
    """Cost C of an example, a name or an object (by task: cross-entropy or mse). mse, mae and huber are sums over the
    output nodes, of a table's values standardised."""
    label_smoothing: float = 0.0
    """Share s of the target y that is smoothed: to (1-s)y + s/K by cross-entropy, (1-s)y + s/2 by the binary one."""
    class_weights: Any = None
    """What each class's examples count, times their own weights: a mapping, or ``balanced``, which is rows / (classes *
    rows of the class) (1 each)."""
    initial: str | None = None
    """Scheme of the initial weights (he where one of ``activation`` is like relu, else glorot)."""
    dtype: str = "float32"
    """Arithmetic of the whole run."""

    # the descent
    optimizer: Any = "adam"
    """A name, or an object (see distbp.optim.Optimizer)."""
    lr: float | None = None
    """Step size (sgd 0.1, adagrad 0.01, lion 0.0003, else 0.001)."""
    momentum: float | None = None
    """Share of the last update that is kept, 0 <= momentum < 1 (0.9 for sgd); the update contains the rate."""
    nesterov: bool = False
    """Look ahead along the momentum; sgd alone."""
    weight_decay: float | None = None
    """Share, times lr as scheduled, that all parameters, biases too, lose in each step; adamw and lion alone (0.01)."""
    schedule: Any = "constant"
    """What lr is multiplied by from step to step: a name, or an object (see distbp.optim.Schedule)."""
    warmup: int = 0
    """Steps over which lr comes up evenly, in front of the schedule."""
    l1: float = 0.0
    """Times the sum of the weights' sizes is added to the total cost whose gradient is taken, without the biases."""
    l2: float = 0.0
    """Times half the weights' sum of squares is added to it, without the biases. No reported cost has either."""
    clip_value: float | None = None
    """Largest size of each number of the gradient, penalties included; of the biases' too."""
    clip_norm: float | None = None
    """Largest length of the gradient of all layers together, after ``clip_value``."""
    max_norm: float | None = None
    """Largest length of a node's incoming weights, output nodes' too, without the bias, after each step."""
    batch_size: int = 128
    """Rows per mini-batch."""
    epochs: int = 20
    """Passes over the training data."""
    shuffle: bool = True
    """Take the rows in a new random order in each epoch; else always as they stand in the data."""
    dropout: float = 0.0
    """Share of the hidden nodes that each step leaves out."""
    early_stopping: int | None = None
    """Epochs without a lower validation cost after which the run ends; the weights of the best epoch are kept."""
    seed: int = 0
    """Fixes everything random."""

    # the data
    task: str | None = None
    """What the targets are (guessed from them)."""
    target: str | int | None = None
    """Column of a table to predict: its name, or its number from 0, -1 for the last (target, label, class or y)."""
    drop: tuple[str, ...] = ()
    """Columns of a table to leave out, by name or number."""
    weights: str | None = None
    """Column of a table with what each row counts."""
    separator: str | None = None
    """Between the cells of a table's text: a character, or its name (guessed)."""
    header: bool | None = None
    """Whether the first row of a table's text names the columns (guessed)."""
    test_file: str | None = None
    """File with the test rows of a table."""
    test_fraction: float = 0.2
    """Share of the rows held out where the data bring no test part of their own."""
    validation_fraction: float = 0.0
    """Share of the training rows held out for early stopping and schedules (0.1 with early_stopping)."""

    # who computes, what is computed
    workers: int | str | Workers = "auto"
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
    insecure: bool = False
    """Use a cluster on another machine although no token protects it."""
    servers: int | None = None
    """Partitions of the parameter vector between hosts (as many as hosts). Never changes the result."""
    host_ports: int | str | None = None
    """Port, or ports as FIRST-LAST, at which the hosts of a run reach each other (any free ones)."""
    wire: str = "exact"
    """What travels between hosts: the numbers as they are, or as float16, which changes the result, also with
    the hosts, the servers and what is lost."""

    checkpoint_seconds: float = 30.0
    """Seconds between checkpoints within an epoch; there is one at the end of each epoch in any case."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) is None and field.name not in _OPEN:
                raise UsageError(f"{field.name} must have a value, found None")
        for name, value in vars(self).copy().items():
            object.__setattr__(self, name, checks.plain(value))
        if not isinstance(self.hidden, list | tuple):
            raise UsageError(f"hidden must be a list of layer sizes, found {brief(self.hidden)}")
        object.__setattr__(self, "hidden", tuple(checks.plain(size) for size in self.hidden))
        drop: Any = self.drop
        drop = (drop,) if isinstance(drop, str) else drop
        object.__setattr__(self, "drop", tuple(map(checks.plain, drop)) if isinstance(drop, Iterable) else drop)
        checks.check_of_tables(vars(self))
        if self.test_file is not None:
            object.__setattr__(self, "test_file", str(self.test_file))
        if isinstance(self.activation, list | tuple):
            object.__setattr__(self, "activation", tuple(self.activation))
        self._check_choices()
        checks.check_numbers(vars(self))
        object.__setattr__(self, "workers", Workers.of(self.workers).written)
        checks.ports(self.host_ports)
        if self.address is not None:
            checks.check_address(self.address)
        self._check_optimizer()
        self._default("initial", default_initial(self.activation))
        self._default("lr", _DEFAULT_LR.get(self.optimizer) if isinstance(self.optimizer, str) else None)
        if self.lr is None:
            raise UsageError(f"the optimizer {name_of(self.optimizer)} is your own: give its lr too")
        self._default("momentum", 0.9 if self.optimizer == "sgd" else None)
        self._default("weight_decay", 0.01 if self.optimizer in _DECAYING else None)
        self._default("shards", default_shards(self.batch_size))
        if self.early_stopping is not None and not self.validation_fraction:
            object.__setattr__(self, "validation_fraction", 0.1)

    @property
    def hidden_activations(self) -> tuple[Any, ...]:
        """The activation of each hidden layer."""
        return self.activation if isinstance(self.activation, tuple) else (self.activation,) * len(self.hidden)

    def _check_choices(self) -> None:
        """Refuse unknown names and objects that are no parts."""
        if isinstance(self.activation, tuple) and len(self.activation) != len(self.hidden):
            raise UsageError(
                f"activation names {len(self.activation)} for {len(self.hidden)} layers: give one for each, or one"
            )
        for setting in ("output", "cost", "initial", "optimizer", "schedule", "dtype", "task", "wire"):
            if getattr(self, setting) is not None:
                check_choice(setting, getattr(self, setting))
        for part in self.activation if isinstance(self.activation, tuple) else (self.activation,):
            check_choice("activation", part)
        if self.label_smoothing and self.cost is not None and self.cost not in _FOR_CLASSES:
            raise UsageError(f"label_smoothing belongs to the two cross-entropies, the cost is {name_of(self.cost)}")

    def _check_optimizer(self) -> None:
        """Refuse settings that the optimizer does not have."""
        name = name_of(self.optimizer)
        if self.optimizer != "sgd" and (self.momentum is not None or self.nesterov):
            what = "nesterov" if self.momentum is None else "momentum"
            raise UsageError(f"{what} belongs to sgd, the optimizer is {name}: leave it out or choose sgd")
        if self.nesterov and self.momentum == 0:
            raise UsageError("nesterov needs a momentum above 0, found 0")
        if self.weight_decay is not None and self.optimizer not in _DECAYING:
            raise UsageError(
                f"weight_decay belongs to adamw and lion, the optimizer is {name}: choose one of them, or use l2"
            )

    @property
    def host_port_range(self) -> range:
        """The ports at which a host may listen; port 0 stands for any."""
        return checks.ports(self.host_ports)

    def _default(self, name: str, value: object) -> None:
        if getattr(self, name) is None:
            object.__setattr__(self, name, value)

    def settled(self, task: str) -> Settings:
        """Return these settings with nothing left open, for data of this task.

        Raises:
            UsageError: a setting does not go together with the task.
        """
        return Settings(**vars(self.for_task(task)))

    def for_task(self, task: str) -> Self:
        """Return these settings with ``task``, ``cost`` and ``output`` filled in."""
        cost = self.cost or ("cross-entropy" if task == "classification" else "mse")
        if task == "regression" and cost == "cross-entropy":
            raise UsageError(f"cost {cost} is for classes, the task is regression: use --cost mse")
        if task == "classification" and cost == "poisson":
            raise UsageError("cost poisson is for counts, the task is classification: use --cost cross-entropy")
        smooths = self.label_smoothing and cost != "binary-cross-entropy"  # which takes several labels per row, too
        if task == "regression" and (smooths or self.class_weights is not None):
            what = "label_smoothing is" if smooths else "class_weights are"
            raise UsageError(f"{what} for classes, the task is regression: leave it out")
        fused = {"cross-entropy": "softmax", "binary-cross-entropy": "sigmoid", "poisson": "softplus"}
        by_task = "identity" if task == "regression" else "sigmoid"
        output = self.output or (fused.get(cost, by_task) if isinstance(cost, str) else by_task)
        return replace(self, task=task, cost=cost, output=output)

    def to_json(self) -> dict[str, Any]:
        """Return every setting, also the defaulted ones, as JSON's types; parts of the user's own by their names."""
        described = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("output", "cost", "optimizer", "schedule"):
            described[name] = None if described[name] is None else name_of(described[name])
        one = not isinstance(self.activation, tuple)
        described["activation"] = name_of(self.activation) if one else [name_of(part) for part in self.activation]
        described |= {"hidden": list(self.hidden), "drop": list(self.drop)}
        if isinstance(self.class_weights, Mapping):
            described["class_weights"] = {str(name): weight for name, weight in self.class_weights.items()}
        return described

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


@dataclass(frozen=True, kw_only=True)
class Settings(Config):
    """The settings as a run uses them: a :class:`Config` with nothing left open (see :meth:`Config.settled`).

    The fields below are those that a Config may leave open; None in any other field means "none", such as no clipping.
    """

    output: Any
    cost: Any
    initial: str
    lr: float
    task: str
    workers: Workers
    shards: int

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "workers", Workers.of(self.workers))

    def with_workers(self, workers: int | str) -> Settings:
        """Return these settings for another number of workers."""
        return replace(self, workers=Workers(workers))

    def as_config(self) -> Config:
        """Return these settings in the form in which a person gives them."""
        return Config(**vars(self))

    def to_json(self) -> dict[str, Any]:
        """Return every setting as JSON's types, as :meth:`Config.to_json` does."""
        return super().to_json() | {"workers": self.workers.written}


def default_initial(activation: Any) -> str:
    """Return the default scheme of initial weights for one activation, or one for each hidden layer."""
    named = activation if isinstance(activation, tuple) else (activation,)
    return "he" if any(isinstance(each, str) and each in _LIKE_RELU for each in named) else "glorot"
