"""Early stopping and the plateau schedule, with the same result when a run is interrupted and resumed."""

import math

import numpy as np
import pytest
from callers import EndAfter, Sine

import distbp
from distbp.data.hold_out import held_out
from distbp.errors import DataError, Interrupted, UsageError
from distbp.randomness import Purpose

OVERFITTING = {"hidden": (64,), "lr": 0.02, "early_stopping": 3, "epochs": 60, "workers": 0, "seed": 1}


@pytest.fixture(scope="module")
def stopped_run():
    return distbp.train("digits", **OVERFITTING)


def test_the_run_stops_early_with_the_best_weights(stopped_run):
    costs = [record["validation_cost"] for record in stopped_run.history]
    best = int(np.argmin(costs))
    assert len(costs) == best + 1 + 3 < 60
    assert stopped_run.summary["best_epoch"] == best + 1
    measured = {f"{part}_{what}" for part in ("train", "validation", "test") for what in ("cost", "accuracy")}
    assert {name: stopped_run.summary[name] for name in measured} == {
        name: stopped_run.history[best][name] for name in measured
    }  # all scores are those of the best epoch, including training scores
    digits = distbp.load("digits")
    assert stopped_run.network.evaluate(digits.test.x, digits.test.y).cost == pytest.approx(
        stopped_run.summary["test_cost"]
    )


@pytest.mark.parametrize("step", [5, 30, 61])
def test_an_interruption_does_not_change_the_result(stopped_run, step, tmp_path):
    with pytest.raises(Interrupted):
        distbp.train("digits", run_dir=tmp_path / "run", callbacks=[EndAfter(step)], **OVERFITTING)
    again = distbp.resume(tmp_path / "run")
    assert again.summary["weights_sha256"] == stopped_run.summary["weights_sha256"]
    assert again.summary["best_epoch"] == stopped_run.summary["best_epoch"]
    assert [r["validation_cost"] for r in again.history] == [r["validation_cost"] for r in stopped_run.history]


@pytest.mark.parametrize("schedule", ["plateau", "one-cycle", "cosine", "step", "inverse-time", "exponential"])
@pytest.mark.parametrize("step", [17, 24])
def test_every_schedule_resumes_from_any_step(schedule, step, tmp_path):
    settings = {"schedule": schedule, "warmup": 5, "optimizer": "sgd", "lr": 0.5, "epochs": 12, "workers": 0}
    whole = distbp.train("digits", **settings)
    with pytest.raises(Interrupted):
        distbp.train("digits", run_dir=tmp_path / "run", callbacks=[EndAfter(step)], **settings)
    again = distbp.resume(tmp_path / "run")
    assert again.summary["weights_sha256"] == whole.summary["weights_sha256"]
    assert [record["lr"] for record in again.history] == [record["lr"] for record in whole.history]


def test_plateau_lowers_the_rate_if_the_cost_does_not_fall():
    result = distbp.train("digits", schedule="plateau", optimizer="sgd", lr=2.0, epochs=15, workers=0, momentum=0.0)
    rates = [record["lr"] for record in result.history]
    assert rates[0] == 2.0
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 2.0


def test_class_weights_act_as_row_weights():
    digits = distbp.load("digits")
    x, y = digits.train.x / 16.0, np.asarray(digits.classes)[digits.train.y]
    by_class = distbp.train((x, y), class_weights={3: 0.0, 4: 2.0}, workers=0, epochs=3)
    by_row = distbp.train((x, y, np.where(y == 3, 0.0, np.where(y == 4, 2.0, 1.0))), workers=0, epochs=3)
    assert by_class.summary["weights_sha256"] == by_row.summary["weights_sha256"]
    assert not (by_class.network.predict(x) == 3).any()


def two_classes(rows=200):
    random = np.random.default_rng(3)
    x = random.normal(size=(rows, 3))
    return x, (x[:, 0] + random.normal(size=rows) > 0).astype(int), random.choice([0.0, 0.5, 4.0], rows)


def test_the_validation_cost_is_the_weighted_mean_of_the_held_out_rows():
    """The mean uses row weights, but neither class weights nor smoothing."""
    x, y, weights = two_classes()
    settings = {"early_stopping": 5, "validation_fraction": 0.25, "epochs": 3, "workers": 0, "dtype": "float64"}
    result = distbp.train((x, y, weights), class_weights={1: 3.0}, label_smoothing=0.2, **settings)
    last = result.history[result.summary["best_epoch"] - 1]
    # validation rows are drawn from the training part, after the test part is split off
    held, counts = held_out_rows(x, y, weights, settings["validation_fraction"])
    probabilities = result.network.probabilities(x[held])
    costs = [-math.log(row[label]) for row, label in zip(probabilities.tolist(), y[held], strict=True)]
    right = [row[label] > 0.5 for row, label in zip(probabilities.tolist(), y[held], strict=True)]
    mean = sum(w * c for w, c in zip(counts, costs, strict=True)) / sum(counts)
    assert last["validation_cost"] == pytest.approx(mean, rel=1e-12)
    assert abs(mean - np.mean(costs)) > 0.001  # so that weights make a difference
    assert last["validation_accuracy"] == np.mean(right)
    x_test, y_test = held_out_rows(x, y, weights, None)
    assert last["test_cost"] == pytest.approx(result.network.evaluate(x_test, y_test).cost)  # unweighted


def test_held_out_rows_of_a_table_are_weighted(tmp_path):
    x, y, weights = two_classes()
    table = tmp_path / "table.csv"
    np.savetxt(table, np.column_stack([x, weights, y]), delimiter=",", header="a,b,c,w,y", comments="", fmt="%.6g")
    settings = {"target": "y", "weights": "w", "validation_fraction": 0.2, "dtype": "float64"}
    result = distbp.train(table, task="classification", workers=0, epochs=2, schedule="plateau", **settings)
    held = distbp.load(table, task="classification", **settings).validation
    probabilities = result.network.probabilities(held.x)
    costs = [-math.log(row[label]) for row, label in zip(probabilities.tolist(), held.y, strict=True)]
    mean = sum(float(w) * c for w, c in zip(held.weights, costs, strict=True)) / float(held.weights.sum())
    assert set(held.weights.tolist()) == {0.0, 0.5, 4.0}
    assert result.history[-1]["validation_cost"] == pytest.approx(mean, rel=1e-9)


def held_out_rows(x, y, weights, fraction):
    """Return numbers and weights of the validation rows, or, without a fraction, x and y of the test part."""
    test = held_out(y, 0.2, 0, True)
    if fraction is None:
        return x[test], y[test]
    left = np.flatnonzero(~test)
    held = left[held_out(y[left], fraction, 0, True, Purpose.VALIDATION_SPLIT)]
    return held, weights[held]


def test_scaling_all_weights_changes_no_decision():
    x, y, weights = two_classes()
    settings = {"early_stopping": 2, "schedule": "plateau", "lr": 0.02, "epochs": 40, "workers": 0, "dtype": "float64"}
    once, often = (distbp.train((x, y, factor * weights), **settings) for factor in (1, 1024))
    assert once.summary["weights_sha256"] == often.summary["weights_sha256"]
    assert once.summary["best_epoch"] == often.summary["best_epoch"] < 40
    assert [r["validation_cost"] for r in once.history] == [r["validation_cost"] for r in often.history]


def test_held_out_rows_of_weight_0_are_refused():
    x, y, weights = two_classes()
    weights[held_out_rows(x, y, weights, 0.1)[0]] = 0
    with pytest.raises(DataError, match="the weights of all 16 rows held out for validation are 0: at least one must"):
        distbp.train((x, y, weights), early_stopping=2, workers=0)


def test_a_mini_batch_of_weight_0_changes_nothing():
    random = np.random.default_rng(0)
    x, y, weights = random.normal(size=(40, 3)), random.integers(0, 2, 40), np.zeros(40)
    weights[:8] = 1
    result = distbp.train((x, y, weights), batch_size=2, workers=0, epochs=3)
    assert np.isfinite(result.network.weights).all()


ROWS = np.random.default_rng(0).normal(size=(40, 3))


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        ((ROWS, ROWS[:, 0] > 0, -np.ones(40)), {}, "weights row 0 is -1: expected a weight of at least 0"),
        ((ROWS, ROWS[:, 0] > 0, np.zeros(40)), {}, "all weights are 0"),
        ((ROWS, ROWS[:, 0] > 0, np.ones(39)), {}, "found 40 rows but 39 weights"),
        ((ROWS, ROWS[:, 0] > 0, np.full(40, np.nan)), {}, "weights row 0 column 0 is nan"),
        ((ROWS, ROWS[:, :2]), {"cost": "binary-cross-entropy"}, "needs a probability in 0..1"),
        ((ROWS, ROWS[:, 0]), {"cost": "poisson"}, "needs a count of at least 0"),
    ],
)
def test_bad_data_is_refused_before_anything_starts(data, settings, message):
    with pytest.raises(DataError, match=message):
        distbp.train(data, workers=0, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup": 24, "epochs": 2}, "warmup takes 24 steps, the whole run has 24"),
        ({"class_weights": {"ten": 1}}, "unknown class in class_weights 'ten'"),
        ({"class_weights": dict.fromkeys(range(10), 0)}, "all class_weights are 0"),
        ({"class_weights": {3: -1}}, "the weight of class 3 must be a finite number of at least 0"),
        ({"class_weights": "even"}, "class_weights must be balanced, or a number for each class"),
        ({"weight_decay": 0.1}, "weight_decay belongs to adamw and lion, the optimizer is adam"),
        ({"cost": "poisson"}, "cost poisson is for counts"),
        ({"cost": "mse", "label_smoothing": 0.1}, "label_smoothing belongs to the two cross-entropies"),
        ({"activation": ("relu", "tanh")}, "activation names 2 for 1 layers"),
        ({"optimizer": object()}, "'object' cannot be the optimizer: it has no slots and no update"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin': did you mean 'cosine'"),
        ({"clip_norm": 0}, "clip_norm must be a finite number above 0"),
        ({"l2": -1}, "l2 must be a finite number of at least 0"),
    ],
)
def test_bad_settings_are_refused_before_anything_starts(settings, message):
    with pytest.raises(UsageError, match=message):
        distbp.train("digits", workers=0, **settings)


def test_several_labels_per_row_are_trained():
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 6))
    y = (x[:, :3] + x[:, 3:] > 0).astype(np.float64)
    result = distbp.train((x, y), cost="binary-cross-entropy", workers=0, epochs=60)
    assert ((result.network.predict(x) > 0.5) == y).mean() > 0.95


def test_a_run_with_user_defined_parts_is_resumed_and_loaded_with_them(tmp_path):
    config = distbp.Config(activation=Sine(), workers=0, epochs=3)
    whole = distbp.train("digits", config)
    with pytest.raises(Interrupted):
        distbp.train("digits", config, run_dir=tmp_path / "run", callbacks=[EndAfter(17)])
    with pytest.raises(distbp.DistbpError, match="Sine"):
        distbp.resume(tmp_path / "run")
    again = distbp.resume(tmp_path / "run", config=config)
    assert again.summary["weights_sha256"] == whole.summary["weights_sha256"]
    with pytest.raises(distbp.DistbpError, match="unknown activation 'Sine'"):
        distbp.Network.load(tmp_path / "run")
    x = distbp.load("digits").test.x
    loaded = distbp.Network.load(tmp_path / "run", own=[Sine()])
    assert loaded.outputs(x).tobytes() == whole.network.outputs(x).tobytes()


def test_a_run_with_connections_is_resumed_with_them(tmp_path):
    network = distbp.Network((64, 8, 10), connections=[np.tri(8, 64, 40, dtype=int), None])
    settings = {"network": network, "workers": 0, "epochs": 3}
    whole = distbp.train("digits", **settings)
    with pytest.raises(Interrupted):
        distbp.train("digits", run_dir=tmp_path / "run", callbacks=[EndAfter(17)], **settings)
    assert distbp.resume(tmp_path / "run").summary["weights_sha256"] == whole.summary["weights_sha256"]


def made(**members):
    return type("Mine", (), members)()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"activation": made(value=lambda self, z: z[:1], derivative=lambda self, z: z)},
            r"Mine.value returned the shape",
        ),
        (
            {"cost": made(value=lambda self, a, y: 1.0, derivative=lambda self, a, y: a)},
            r"Mine.value .* expected \(3,\)",
        ),
        ({"optimizer": made(slots=3, update=lambda *a: None), "lr": 1.0}, "slots must be a tuple of names, found 3"),
        ({"optimizer": made(slots=(), update=lambda *a: None), "lr": 1.0}, "update must write every row of new"),
        ({"optimizer": made(slots=(), update=lambda *a: None)}, "give its lr too"),
        ({"schedule": made(factor=lambda self, step, steps: float("nan"))}, "factor returned nan"),
    ],
)
def test_invalid_user_defined_parts_are_refused_before_anything_starts(settings, message):
    with pytest.raises(UsageError, match=message):
        distbp.train("digits", workers=2, **settings)


def test_a_run_with_held_out_rows_and_class_weights_can_be_verified(tmp_path):
    from distbp.training.verify import verify

    settings = {"early_stopping": 2, "class_weights": {3: 2.0}, "schedule": "plateau", "clip_norm": 1.0, "lr": 0.02}
    distbp.train("digits", workers=0, epochs=4, run_dir=tmp_path / "run", **settings)
    assert verify(tmp_path / "run") == (44, None)
