"""The settings of a run: open, as a person gives them, and settled, as a run uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from distbp.config.choices import name_of
from distbp.config.computing import ComputingOptions
from distbp.config.data import DataOptions
from distbp.config.network import NetworkOptions
from distbp.config.option import options_of
from distbp.config.shards import default_shards
from distbp.config.training import TrainingOptions
from distbp.config.values import Ports, plain
from distbp.config.workers import Workers
from distbp.errors import UsageError, unknown_name

_DEFAULT_LR = {"sgd": 0.1, "adagrad": 0.01, "rmsprop": 0.001, "adam": 0.001, "adamw": 0.001, "lion": 0.0003}
_DECAYING = ("adamw", "lion")
_LIKE_RELU = {"relu", "leaky-relu", "elu", "gelu", "softplus", "swish"}
_FOR_CLASSES = ("cross-entropy", "binary-cross-entropy")


# A dataclass collects the fields of its bases from the last one on: config.json has them in that order.
@dataclass(frozen=True, kw_only=True)
class Config(ComputingOptions, DataOptions, TrainingOptions, NetworkOptions):
    """The settings of a run, by the names of the command's options.

    A setting that is None gets its default from the other settings when the object is built; ``cost``, ``output`` and
    ``task`` stay None until :meth:`settled` or :meth:`for_task` is called with the task of the data. Instead of a name,
    ``activation``, ``output`` and ``cost`` may be objects of your own (see :mod:`distbp.nn.custom`), and so may
    ``optimizer`` and ``schedule`` (see distbp.optim.Optimizer and distbp.optim.Schedule).

    >>> Config(batch_size=256).shards
    4
    >>> Config(optimizer="adam", momentum=0.9)
    Traceback (most recent call last):
    distbp.errors.UsageError: momentum belongs to sgd, the optimizer is adam: leave it out or choose sgd
    """

    def __post_init__(self) -> None:
        for name, option in OPTIONS.items():
            value = plain(getattr(self, name))
            if value is not None:
                object.__setattr__(self, name, option.values.checked(name, value))
            elif option.default is not None:
                raise UsageError(f"{name} must have a value, found None")
        self._check_layers()
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

    def _check_layers(self) -> None:
        """Refuse activations for another number of layers, and label smoothing with a cost that has none."""
        if isinstance(self.activation, tuple) and len(self.activation) != len(self.hidden):
            raise UsageError(
                f"activation names {len(self.activation)} for {len(self.hidden)} layers: give one for each, or one"
            )
        if self.label_smoothing and self.cost is not None and self.cost not in _FOR_CLASSES:
            raise UsageError(f"label_smoothing belongs to the two cross-entropies, the cost is {name_of(self.cost)}")

    def _check_optimizer(self) -> None:
        """Refuse settings of other optimizers."""
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
        """The ports at which a host may listen; port 0 means any free port."""
        return Ports.range_of(self.host_ports)

    def _default(self, name: str, value: object) -> None:
        if getattr(self, name) is None:
            object.__setattr__(self, name, value)

    def settled(self, task: str) -> Settings:
        """Return these settings with nothing left open, for data of this task.

        Raises:
            UsageError: a setting does not fit the task.
        """
        return Settings(**vars(self.for_task(task)))

    def for_task(self, task: str) -> Self:
        """Return these settings with ``task``, ``cost`` and ``output`` filled in."""
        cost = self.cost or ("cross-entropy" if task == "classification" else "mse")
        if task == "regression" and cost == "cross-entropy":
            raise UsageError(f"cost {cost} is for classes, the task is regression: use --cost mse")
        if task == "classification" and cost == "poisson":
            raise UsageError("cost poisson is for counts, the task is classification: use --cost cross-entropy")
        smooths = self.label_smoothing and cost != "binary-cross-entropy"  # whose targets may be several labels per row
        if task == "regression" and (smooths or self.class_weights is not None):
            what = "label_smoothing is" if smooths else "class_weights are"
            raise UsageError(f"{what} for classes, the task is regression: leave it out")
        fused = {"cross-entropy": "softmax", "binary-cross-entropy": "sigmoid", "poisson": "softplus"}
        by_task = "identity" if task == "regression" else "sigmoid"
        output = self.output or (fused.get(cost, by_task) if isinstance(cost, str) else by_task)
        return replace(self, task=task, cost=cost, output=output)

    def to_json(self) -> dict[str, Any]:
        """Return every setting, defaults included, as JSON types; objects of the user's own by their names."""
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
        """Build a Config from settings by name.

        Raises:
            UsageError: a name is unknown (with the nearest known one) or a value is out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise unknown_name("setting", name, known)
        return cls(**settings)


class Settings(Config):  # inherits the fields, and the methods made from them
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
        """Return every setting as JSON types, as :meth:`Config.to_json` does."""
        return super().to_json() | {"workers": self.workers.written}


def default_initial(activation: Any) -> str:
    """Return the default scheme of initial weights for one activation, or one for each hidden layer."""
    named = activation if isinstance(activation, tuple) else (activation,)
    return "he" if any(isinstance(each, str) and each in _LIKE_RELU for each in named) else "glorot"


OPTIONS = options_of(Config)
"""The description of each setting, by name."""

NEVER_CHANGES_THE_RESULT = frozenset(name for name, option in OPTIONS.items() if not option.changes_result)
"""The settings that can never change the result: they say where a run computes and how it is watched."""

Config.__doc__ = f"{Config.__doc__}\n    Settings:\n" + "".join(
    f"        {name}: {option.text}\n" for name, option in OPTIONS.items()
)
