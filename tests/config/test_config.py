import json
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
from generated import all_commands

from distbp.config import CHOICES, Config, Workers, default_shards
from distbp.errors import UsageError
from distbp.nn.activations import ACTIVATIONS
from distbp.nn.costs import COSTS
from distbp.nn.initialization import SCHEMES
from distbp.optim.schedules import SCHEDULES


def test_defaults():
    expected = {
        "hidden": (128,),
        "activation": "relu",
        "initial": "he",
        "dtype": "float32",
        "optimizer": "adam",
        "lr": 0.001,
        "momentum": None,
        "nesterov": False,
        "batch_size": 128,
        "epochs": 20,
        "seed": 0,
        "test_fraction": 0.2,
        "workers": "auto",
        "shards": 2,
        "threads": 1,
        "timeout": 10,
        "wait": 60,
        "address": None,
        "task": None,
        "cost": None,
        "output": None,
    }
    config = Config()
    assert {name: getattr(config, name) for name in expected} == expected


def test_defaults_of_sgd():
    config = Config(optimizer="sgd")
    assert (config.lr, config.momentum, config.nesterov) == (0.1, 0.9, False)
    assert Config(optimizer="sgd", momentum=0).momentum == 0


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "identity"])
def test_default_scheme_is_glorot_except_for_relu(activation):
    assert Config(activation=activation).initial == "glorot"
    assert Config(activation=activation, initial="he").initial == "he"


@pytest.mark.parametrize("hidden", [(), (8,), (8, 8)])
@pytest.mark.parametrize("activation", CHOICES["activation"])
def test_the_default_scheme_depends_only_on_the_activation(hidden, activation):
    expected = "glorot" if activation in ("sigmoid", "tanh", "identity") else "he"
    assert Config(hidden=hidden, activation=activation).initial == expected
    mixed = [("tanh", activation)[k % 2] for k in range(len(hidden))]
    assert Config(hidden=hidden, activation=mixed).initial == (expected if len(hidden) > 1 else "glorot")


@pytest.mark.parametrize(
    ("batch_size", "shards"), [(1, 1), (127, 1), (128, 2), (255, 2), (256, 4), (511, 4), (512, 4), (10**6, 4)]
)
def test_default_shards_depend_only_on_the_mini_batch(batch_size, shards):
    assert default_shards(batch_size) == shards
    for workers in (0, 1, 7):
        assert Config(batch_size=batch_size, workers=workers).shards == shards


@pytest.mark.parametrize(
    ("settings", "task", "cost", "output"),
    [
        ({}, "classification", "cross-entropy", "softmax"),
        ({}, "regression", "mse", "identity"),
        ({"cost": "mse"}, "classification", "mse", "sigmoid"),
        ({"cost": "mse", "output": "softmax"}, "classification", "mse", "softmax"),
        ({"cost": "binary-cross-entropy"}, "classification", "binary-cross-entropy", "sigmoid"),
        ({"output": "tanh"}, "regression", "mse", "tanh"),
    ],
)
def test_task_determines_cost_and_output(settings, task, cost, output):
    config = Config(**settings).for_task(task)
    assert (config.task, config.cost, config.output) == (task, cost, output)


@pytest.mark.parametrize("cost", ["cross-entropy"])
def test_cost_for_classes_is_refused_in_regression(cost):
    with pytest.raises(UsageError, match=f"cost {cost} is for classes, the task is regression: use --cost mse"):
        Config(cost=cost).for_task("regression")


@pytest.mark.parametrize(
    ("setting", "known"),
    [
        ("activation", set(ACTIVATIONS) - {"softmax"}),
        ("output", set(ACTIVATIONS)),
        ("cost", set(COSTS)),
        ("initial", set(SCHEMES)),
    ],
)
def test_choices_are_the_implemented_names(setting, known):
    assert set(CHOICES[setting]) == known


@pytest.mark.parametrize(("setting", "name"), [(setting, name) for setting in CHOICES for name in CHOICES[setting]])
def test_every_choice_is_accepted(setting, name):
    assert getattr(Config(**{setting: name}), setting) == name


WHOLE = {"batch_size": 1, "epochs": 1, "seed": 0, "workers": 0, "shards": 1, "threads": 1}
POSITIVE = ("lr", "timeout", "wait")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[(setting, value) for setting, least in WHOLE.items() for value in (least - 1, 1.5, "2", True)],
        *[(setting, value) for setting in POSITIVE for value in (0, -1, float("inf"), float("nan"), "1", True)],
        *[("momentum", value) for value in (-0.1, 1, 1.5, float("nan"), "0.9")],
        *[("test_fraction", value) for value in (0, 1, -0.5, float("nan"), "0.5")],
        *[(setting, name) for setting in CHOICES for name in ("", "unknown", 3)],
        ("activation", "softmax"),
        ("seed", 2**64),
        ("hidden", (0,)),
        ("hidden", (16, -1)),
        ("hidden", (16.0,)),
        ("hidden", ("16",)),
        ("hidden", 128),
        ("nesterov", "no"),
        ("workers", "many"),
        *[("address", value) for value in ("", "host", ":6379", "host:", "host:0", "host:65536", "host:²", 5)],
        ("address", "ray://host:10001"),
        *[
            ("host_ports", value)
            for value in ("", "x", 0, -1, True, 65536, "7000-", "-7000", "7010-7000", "7²", "1-99999")
        ],
    ],
)
def test_invalid_value_is_refused_with_its_setting(setting, value):
    with pytest.raises(UsageError, match=setting.split("_")[0]):
        Config(**({"optimizer": "sgd"} | {setting: value}))


HAS_ITS_OWN_NONE = {
    "output", "cost", "initial", "lr", "momentum", "weight_decay", "clip_value", "clip_norm", "max_norm",
    "class_weights", "early_stopping", "task", "shards", "address", "servers", "target", "weights", "separator",
    "header", "test_file", "host_ports",
}  # fmt: skip


@pytest.mark.parametrize("setting", [field.name for field in fields(Config) if field.name not in HAS_ITS_OWN_NONE])
def test_none_is_refused_where_it_has_no_meaning(setting):
    with pytest.raises(UsageError, match=setting.split("_")[0]):
        Config(**{setting: None})


@pytest.mark.parametrize("setting", WHOLE)
def test_smallest_integer_is_accepted(setting):
    assert getattr(Config(**{setting: WHOLE[setting]}), setting) == WHOLE[setting]


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "host:1", "[::1]:65535"])
def test_address_of_a_cluster_is_accepted(address):
    assert Config(address=address).address == address


@pytest.mark.parametrize(
    ("ports", "those"),
    [(None, range(1)), (7000, range(7000, 7001)), ("7000", range(7000, 7001)), ("1-65535", range(1, 65536))],
)
def test_ports_of_hosts(ports, those):
    assert Config(host_ports=ports).host_port_range == those


def test_number_of_workers_may_be_undecided():
    assert Workers(3).most == 3
    with pytest.raises(ValueError, match="the number of workers is still open"):
        _ = Config().settled("regression").workers.most


def test_largest_seed_is_accepted():
    assert Config(seed=2**64 - 1).seed == 2**64 - 1


@pytest.mark.parametrize("settings", [{"momentum": 0.9}, {"momentum": 0.0}, {"nesterov": True}])
def test_momentum_and_nesterov_belong_to_sgd(settings):
    (name,) = settings
    with pytest.raises(UsageError, match=f"{name} belongs to sgd, the optimizer is adam: leave it out or choose sgd"):
        Config(optimizer="adam", **settings)


def test_nesterov_needs_momentum():
    with pytest.raises(UsageError, match="nesterov needs a momentum above 0"):
        Config(optimizer="sgd", nesterov=True, momentum=0)


def test_error_for_an_unknown_setting_suggests_the_nearest_name():
    with pytest.raises(UsageError, match="unknown setting 'batchsize': did you mean 'batch_size'"):
        Config.from_settings({"batchsize": 5})


def test_error_for_an_unknown_choice_suggests_the_nearest_name():
    with pytest.raises(UsageError, match="unknown optimizer 'admm': did you mean 'adam'"):
        Config(optimizer="admm")


def test_settings_survive_json():
    config = Config(hidden=(3, 4), optimizer="sgd", seed=5).for_task("regression")
    assert Config.from_settings(json.loads(json.dumps(config.to_json()))) == config


def test_settings_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Config().lr = 1.0


@pytest.mark.parametrize("workers", ["1..0", "0..2", "..3", "2..", "a..b", "-1..2", 1.5, True])
def test_a_range_of_workers_is_checked(workers):
    with pytest.raises(UsageError, match="a range such as"):
        Config(workers=workers)


def test_a_range_of_workers_is_kept():
    config = Config(workers="2..6")
    workers = config.settled("regression").workers
    assert (workers.least, workers.most, config.workers, config.to_json()["workers"]) == (2, 6, "2..6", "2..6")


@pytest.mark.parametrize("workers", [0, 3, "auto", "2..6", "2..2"])
def test_settled_settings_are_written_as_they_were_given(workers):
    config = Config(workers=workers, optimizer="sgd", class_weights={1: 2.0})
    settings = config.settled("classification")
    assert json.dumps(settings.to_json()) == json.dumps(config.for_task("classification").to_json())
    assert settings.as_config() == config.for_task("classification")
    assert settings.with_workers(workers) == settings


@pytest.mark.parametrize("optimizer", CHOICES["optimizer"])
@pytest.mark.parametrize("task", CHOICES["task"])
def test_settled_settings_leave_nothing_open(task, optimizer):
    settings = Config(optimizer=optimizer).settled(task)
    open_ones = ("output", "cost", "initial", "lr", "task", "shards")
    assert None not in [getattr(settings, name) for name in open_ones]
    assert settings.workers == Workers("auto")


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan"), "half"])
def test_dropout_is_a_fraction_below_1(share):
    with pytest.raises(UsageError, match="dropout must be"):
        Config(dropout=share)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"epochs": 10**400},
            "epochs must be a whole number of at least 1 and at most 1,000,000,000, found a number",
        ),
        ({"epochs": 10**5000}, "epochs must be"),
        ({"hidden": (10**400,)}, "hidden layer 1"),
        ({"lr": 10**400}, "lr must be"),
        ({"workers": 10**400}, "workers must be"),
        ({"workers": "1.." + "9" * 5000}, "workers must be"),
        ({"workers": "9" * 5000 + "..5"}, "workers must be"),
        ({"address": "a:" + "9" * 5000}, "address must be"),
        ({"activation": "A" * 5000}, "unknown activation"),
        ({"A" * 5000: 1}, "unknown setting"),
        ({"drop": 5}, "drop must be a list"),
        ({"drop": None}, "drop"),
        ({"drop": [None]}, "drop must be a list"),
        ({"target": 1.5}, "target must be"),
        ({"header": 1}, "header must be true or false"),
        ({"separator": []}, "separator must be text"),
        ({"class_weights": {"A" * 5000: -1}}, "the weight of class"),
    ],
)
def test_values_of_excessive_length_or_wrong_type_give_one_line(settings, said):
    with pytest.raises(UsageError) as refused:
        Config.from_settings(settings)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 700


def test_no_message_is_longer_than_a_page():
    assert len(str(UsageError("a" * 1_000_000))) < 2000


def test_the_help_names_the_parameters_of_every_schedule():
    (option,) = (each for each in all_commands()["train"].params if each.name == "schedule")
    step, exponential, inverse, cycle, plateau = (
        SCHEDULES[name] for name in ("step", "exponential", "inverse-time", "one-cycle", "plateau")
    )
    told = {
        "constant": "",
        "step": f" ({step.gamma:g} per {'third' if step.parts == 3 else step.parts})",
        "exponential": f" ({exponential.end:g}^s)",
        "inverse-time": f" (1/(1+{inverse.k:g}s))",
        "cosine": " (to 0)",
        "one-cycle": f" (1/{1 / cycle.begin:g} to 1 in {100 * cycle.rise:g} %, then to {cycle.end:g})",
        "plateau": f" ({plateau.gamma:g} per {plateau.patience + 1} epochs in a row not {100 * plateau.least:g} % "
        "below the lowest cost)",
    }
    assert tuple(told) == CHOICES["schedule"]
    assert option.help.endswith(f": {'|'.join(name + more for name, more in told.items())}.")


@pytest.mark.parametrize(
    "drop", [np.array(["a", "b"]), ["a", "b"], {"a": 1, "b": 2}, ("a", "b")], ids=lambda drop: type(drop).__name__
)
def test_columns_to_drop_may_be_any_iterable(drop):
    assert Config(drop=drop).drop == ("a", "b")
