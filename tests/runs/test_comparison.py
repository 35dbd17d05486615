"""Comparing two runs, and verifying a run by doing its steps again."""

import json

import numpy as np
import pytest

import distbp
from distbp.cli import run as command
from distbp.errors import RunError
from distbp.files.json_files import write_json
from distbp.files.json_text import SUM
from distbp.parallel.step.records import StepRecord
from distbp.runs.comparison import Difference, compare
from distbp.runs.steplog import StepLog, read_steps
from distbp.training.verify import verify

BASE = {"hidden": (8, 6), "epochs": 2, "workers": 0, "batch_size": 100}


@pytest.fixture
def begun(tmp_path):
    def make(name, data="digits", **settings):
        distbp.train(data, run_dir=tmp_path / name, **{**BASE, **settings})
        return tmp_path / name

    return make


def test_equal_runs_are_equal(begun):
    found = compare(begun("one"), begun("other"))
    assert (found.difference, found.causes) == (None, ())
    assert found.steps == (30, 30)


def test_a_longer_run_is_equal_as_far_as_both_go(begun):
    assert compare(begun("one"), begun("other", epochs=3)).difference is None


@pytest.mark.parametrize(
    ("changed", "difference", "cause"),
    [
        ({"seed": 1}, Difference(-1, 1), "initial weights: seed 0 and 1"),
        ({"initial": "glorot"}, Difference(-1, 1), "initial weights: initial he and glorot"),
        ({"hidden": (8,)}, Difference(-1, 1), "initial weights: hidden"),
        ({"batch_size": 50}, Difference(0, 1), "order: the same initial weights, but batch_size 100 and 50"),
        ({"lr": 0.01}, Difference(0, 1), "setting: lr 0.001 and 0.01"),
        ({"dropout": 0.5}, Difference(0, 1), "setting: dropout 0.0 and 0.5"),
    ],
)
def test_the_cause_is_named(begun, changed, difference, cause):
    found = compare(begun("one"), begun("other", **changed))
    assert found.difference == difference
    assert found.causes[0].startswith(cause)


def test_other_data_are_named(begun):
    data = distbp.load("digits")
    x = data.train.x.copy()
    x[0, 20] ^= 1
    other = type(data)(
        "digits", data.task, type(data.train)(x, data.train.y, data.train.factor), data.test, data.classes
    )
    found = compare(begun("one"), begun("other", other))
    assert found.causes == ("data: the training rows differ",)
    assert found.difference.step < 15  # the changed row comes once in the first epoch


def differ(run, step, layer):
    """Write the log again with one changed bit in the hash of a layer."""
    initial, records, _ = read_steps(run)
    log = StepLog(run, initial, pytest.fail)
    for number, rows, right, cost, layers in records:
        changed = [int(each) for each in layers]
        changed[layer - 1] ^= int(number == step)
        log.append(StepRecord(int(number), int(rows), float(cost), int(right), 0.1, layers=tuple(changed)))
    log.flush()


def test_a_difference_that_nothing_explains_points_at_the_machine(begun):
    one, other = begun("one"), begun("other")
    differ(other, 17, 2)
    found = compare(one, other)
    assert found.difference == Difference(17, 2)
    assert "memory or the CPU" in found.causes[0]
    assert command(["diff", str(one), str(other)], 0.0) == 1


@pytest.mark.parametrize(
    ("step", "cause"),
    [
        (0, "order: the same initial weights, but seed 0 and 1"),
        (1, "setting: seed 0 and 1"),
        (17, "setting: seed 0 and 1"),
    ],
)
def test_the_order_of_rows_is_the_cause_of_a_difference_in_the_first_step_alone(begun, step, cause):
    """Another order changes the first step; runs that differ later used the same rows until then."""
    one, other = begun("one"), begun("other")
    differ(other, step, 1)
    settings = json.loads((other / "config.json").read_text())
    write_json(other / "config.json", {**{name: each for name, each in settings.items() if name != SUM}, "seed": 1})
    found = compare(one, other)
    assert (found.difference, found.causes) == (Difference(step, 1), (cause,))


def test_float16_between_hosts_is_named_where_nothing_else_differs(begun):
    one, other = (begun(name, wire="float16", servers=servers) for name, servers in (("one", 1), ("other", 2)))
    differ(other, 17, 2)
    found = compare(one, other)
    assert found.difference == Difference(17, 2)
    assert len(found.causes) == 1
    assert found.causes[0].startswith("wire float16: with it, --servers and the number of hosts")


def test_a_run_gives_the_same_bits_again(begun, capsys):
    run = begun("one")
    assert verify(run) == (30, None)
    assert verify(run, steps=4) == (4, None)
    assert command(["verify", str(run), "--steps", "3"], 0.0) == 0
    assert capsys.readouterr().out == "3 steps equal\n"


def test_a_run_that_does_not_is_reported_with_step_and_layer(begun, capsys):
    run = begun("one")
    differ(run, 17, 3)
    assert verify(run) == (17, Difference(17, 3))
    assert verify(run, steps=17) == (17, None)
    assert command(["verify", str(run)], 0.0) == 1
    assert "17 steps are equal, then this run differs" in capsys.readouterr().err


def test_a_run_on_arrays_cannot_be_done_again_without_them(begun):
    run = begun("one", (np.random.default_rng(0).random((300, 4)), np.arange(300) % 3))
    with pytest.raises(RunError, match="were arrays"):
        verify(run)
    with pytest.raises(RunError, match="were arrays"):
        distbp.resume(run)
