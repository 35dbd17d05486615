"""The results of diagnosed steps, compared with their definition in plain float64 loops over single examples."""

import itertools
import math

import numpy as np
import pytest
from parallel.clusters import Cluster, view_of

from distbp.config import Config
from distbp.data.dataset import Rows
from distbp.data.epoch_order import EpochOrder
from distbp.nn.structure import Structure
from distbp.parallel.step.diagnosis import is_diagnosed, noise, square_of_kept
from distbp.parallel.step.executor import InProcessExecutor
from distbp.parallel.step.records import Diagnosis, Report
from distbp.parallel.step.shards import Span
from distbp.runs.epoch_sums import DiagnosisMeans
from distbp.training.executors import initial_state

KEPT = (np.arange(30).reshape(5, 6) % 3 != 1).astype(float)
DENSE = Structure((6, 5, 3), ("tanh", "softmax"), "cross-entropy")
SPARSE = Structure((6, 5, 3), ("tanh", "softmax"), "cross-entropy", (KEPT, None))
STEPS = 4
"""Two epochs of two steps; the last step of each is diagnosed."""


def rows_of(weights=None):
    random = np.random.default_rng(1)
    x = random.normal(size=(50, 6))
    return Rows(x.astype(np.float32), random.integers(0, 3, 50), weights=weights)


def settings_of(shards=5, **settings):
    return Config(batch_size=25, shards=shards, optimizer="sgd", lr=0.05, **settings)


def gradient_of_row(w1, b1, w2, b2, x, y):
    """Return the gradient of one example's cross-entropy in the order of the parameter vector, by the chain rule."""
    hidden = [math.tanh(sum(w1[k][j] * x[j] for j in range(6)) + b1[k]) for k in range(5)]
    z = [sum(w2[k][j] * hidden[j] for j in range(5)) + b2[k] for k in range(3)]
    total = sum(math.exp(each) for each in z)
    out = [math.exp(z[k]) / total - (k == y) for k in range(3)]
    back = [sum(out[k] * w2[k][j] for k in range(3)) * (1 - hidden[j] ** 2) for j in range(5)]
    first = [back[k] * x[j] for k in range(5) for j in range(6)]
    return np.array([*first, *back, *[out[k] * hidden[j] for k in range(3) for j in range(5)], *out])


def by_definition(flat, rows, indices, shards, kept):
    """Return spread and signal of one mini-batch, from the gradient of each example."""
    flat = [float(each) for each in flat]
    w1, w2 = np.reshape(flat[:30], (5, 6)).tolist(), np.reshape(flat[35:50], (3, 5)).tolist()
    gradients = [
        kept * gradient_of_row(w1, flat[30:35], w2, flat[50:], rows.x[i].tolist(), int(rows.y[i])) for i in indices
    ]
    weights = [1.0 if rows.weights is None else float(rows.weights[i]) for i in indices]
    size, more = divmod(len(indices), shards)
    stops = [size * (s + 1) + min(s + 1, more) for s in range(shards)]
    parts = [range(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]
    mean, total = sum(w * g for w, g in zip(weights, gradients, strict=True)) / sum(weights), sum(weights)
    big = float(mean @ mean)
    small = of_small = of_big = 0.0
    for part in parts:
        weight = sum(weights[i] for i in part)
        share = weight / total
        shard_mean = sum(weights[i] * gradients[i] for i in part) / weight
        rows_that_count = weight**2 / sum(weights[i] ** 2 for i in part)
        small += share * float(shard_mean @ shard_mean)
        of_small += share / rows_that_count
        of_big += share**2 / rows_that_count
    spread = (small - big) / (of_small - of_big)
    return spread, big - spread * of_big


def expected(structure, settings, rows, states):
    """Return the expected diagnoses; ``states`` are the weights before each step."""
    order = EpochOrder(50, settings.batch_size, settings.seed)
    kept = structure.connection_vector("float64")
    return [
        by_definition(states[step], rows, order.rows(step), settings.shards, 1.0 if kept is None else kept)
        for step in range(STEPS)
        if is_diagnosed(step, 2)
    ]


def in_one_process(structure, settings, rows):
    """Return the weights before each step, and the diagnoses."""
    pool = InProcessExecutor(structure, settings, rows, initial_state(structure, settings))
    states, found = [], []
    for step in range(STEPS):
        states.append(pool.state()[0])
        (record,) = pool.steps(step + 1)
        found += [record.diagnosis] if record.diagnosis is not None else []
    return states, found


def lengths(flat):
    """Return the norm of each layer's parameters, w and b together."""
    return [math.sqrt(sum(each * each for each in flat[:35])), math.sqrt(sum(each * each for each in flat[35:]))]


@pytest.mark.parametrize("clip_norm", [None, 0.02])
def test_norms_are_of_the_gradient_before_clip_norm_and_of_the_actual_update(clip_norm):
    """Gradients include penalties and clip-value; update norms are relative to the weights before the step."""
    l1, l2, clip = 0.01, 0.3, 0.05
    settings = settings_of(dtype="float64", l1=l1, l2=l2, clip_value=clip, clip_norm=clip_norm, momentum=0.0)
    rows = rows_of(unequal())
    states, found = in_one_process(SPARSE, settings, rows)
    kept, penalised = SPARSE.connection_vector("float64"), np.ones(53)
    penalised[30:35] = penalised[50:] = 0
    for diagnosis, step in zip(found, (1, 3), strict=True):
        before = states[step]
        w1, w2 = before[:30].reshape(5, 6), before[35:50].reshape(3, 5)
        total = gradient = 0
        for i in EpochOrder(50, 25, settings.seed).rows(step):
            weight = float(rows.weights[i])
            gradient = gradient + weight * gradient_of_row(
                w1, before[30:35], w2, before[50:], rows.x[i].astype(float), rows.y[i]
            )
            total += weight
        mean = kept * (gradient / total + penalised * (l2 * before + l1 * np.sign(before)))
        mean = np.clip(mean, -clip, clip)
        length = math.sqrt(sum(each * each for each in mean))
        assert length > 0.02  # so that clip-norm has something to clip
        change = settings.lr * mean * (1 if clip_norm is None else clip_norm / length)
        assert diagnosis.gradient_norms == pytest.approx(lengths(mean), rel=1e-9)
        assert diagnosis.update_norms == pytest.approx(lengths(change), rel=1e-9)
        assert diagnosis.weight_norms == pytest.approx(lengths(before), rel=1e-9)


def test_an_epochs_norms_are_the_means_over_its_diagnosed_steps():
    means = DiagnosisMeans()
    means.add(Diagnosis((1.0, 2.0), (0.5, 3.0), (2.0, 0.0), math.nan, math.nan))
    means = DiagnosisMeans(means.to_json())
    means.add(Diagnosis((3.0, 4.0), (1.5, 3.0), (2.0, 4.0), 6.0, 2.0))
    means.add(Diagnosis((5.0, 3.0), (1.0, 3.0), (2.0, 4.0), 3.0, 4.0))
    assert means.gradient_norms == [3.0, 3.0]
    assert means.update_ratios == [0.5, 0.5]  # no ratio to weights that are all 0
    assert means.noise_scale == 9.0 / 6.0


@pytest.mark.parametrize(
    ("spread", "signal", "scale"), [(0.5, 2.0, 0.25), (-1.0, 2.0, None), (1.0, -2.0, None), (0.0, 2.0, None)]
)
def test_a_noise_scale_needs_a_spread_and_a_signal_above_0(spread, signal, scale):
    means = DiagnosisMeans()
    means.add(Diagnosis((1.0,), (1.0,), (1.0,), spread, signal))
    means.add(Diagnosis((1.0,), (1.0,), (1.0,), 7.0, math.nan))  # useless, like an infinite one
    assert means.noise_scale == scale


def unequal():
    return np.random.default_rng(2).choice([0.0, 0.5, 1.0, 4.0], 50).astype(np.float32)


SETTINGS = {
    "plain": {},
    "shards of 7 and 6 rows": {"shards": 4},
    "l1": {"l1": 0.05},
    "l2": {"l2": 0.3},
    "clip-value": {"clip_value": 0.01},
    "clip-norm": {"clip_norm": 0.01},
    "all of them": {"l1": 0.05, "l2": 0.3, "clip_value": 0.05, "clip_norm": 0.02, "max_norm": 1.0, "shards": 4},
}


@pytest.mark.parametrize("weights", [None, unequal()], ids=["each row counts once", "unequal weights"])
@pytest.mark.parametrize("structure", [DENSE, SPARSE], ids=["dense", "connections left out"])
@pytest.mark.parametrize("name", SETTINGS)
def test_noise_is_that_of_the_costs_gradient_by_its_definition(name, structure, weights):
    """Penalties, clipping and missing connections do not contribute."""
    settings, rows = settings_of(dtype="float64", **SETTINGS[name]), rows_of(weights)
    states, found = in_one_process(structure, settings, rows)
    assert [(each.spread, each.signal) for each in found] == [
        pytest.approx(pair, rel=1e-9) for pair in expected(structure, settings, rows, states)
    ]


@pytest.mark.parametrize("weights", [None, unequal()], ids=["each row counts once", "unequal weights"])
@pytest.mark.parametrize("structure", [DENSE, SPARSE], ids=["dense", "connections left out"])
@pytest.mark.parametrize("name", ["plain", "l1", "l2", "clip-value", "all of them"])
def test_two_hosts_estimate_the_same_noise(name, structure, weights):
    settings, rows = settings_of(**{"shards": 4, "dtype": "float64", **SETTINGS[name]}), rows_of(weights)
    states, alone = in_one_process(structure, settings, rows)
    hosts = Cluster((1, 1), settings, structure=structure, rows=rows)
    try:
        hosts.join_view(view_of(hosts.hosts, (1, 1), settings))
        hosts.run(0, STEPS)
        found = [record.diagnosis for record in hosts.wait(hosts.hosts[0])[1] if record.diagnosis is not None]
    finally:
        hosts.close()
    assert found == alone
    assert [(each.spread, each.signal) for each in found] == [
        pytest.approx(pair, rel=1e-9) for pair in expected(structure, settings, rows, states)
    ]


def test_scaling_all_weights_changes_no_noise_scale():
    scales = []
    settings = settings_of(dtype="float64")
    spreads, signals = zip(
        *expected(DENSE, settings, rows_of(), in_one_process(DENSE, settings, rows_of())[0]), strict=True
    )
    for factor in (None, 1.0, 1000.0, 0.001):
        weights = None if factor is None else np.full(50, factor)
        means = DiagnosisMeans()
        for found in in_one_process(DENSE, settings, rows_of(weights))[1]:
            means.add(found)
        scales.append(means.noise_scale)
    assert scales == [pytest.approx(sum(spreads) / sum(signals), rel=1e-9)] * 4


def report_of(gradients, weights):
    """Return the report on shards whose examples have these gradients and weights, and |G|^2."""
    sums = [sum(w * np.array(g) for g, w in zip(*shard, strict=True)) for shard in zip(gradients, weights, strict=True)]
    squares = tuple(float(each @ each) for each in sums)
    totals, of_weights = tuple(map(sum, weights)), tuple(sum(w * w for w in shard) for shard in weights)
    mean = sum(sums) / sum(totals)
    nothing = (0.0,) * len(weights)
    report = Report(Span(0, len(weights)), 4, nothing, 0, totals, squares, of_weights)
    return [report], float(mean @ mean)


@pytest.mark.parametrize("weights", [((1, 1), (1, 1)), ((1, 3), (0.5, 2)), ((100, 1), (1, 0)), ((1, 2, 1), (5,))])
def test_estimates_are_right_on_average_over_all_mini_batches(weights):
    """Each example is one of three equally likely ones: the mean over all 81 choices is the true spread and signal."""
    population = [(1.0, 0.0), (0.0, 4.0), (2.0, -1.0)]
    found = []
    for choice in itertools.product(population, repeat=4):
        first = len(weights[0])
        found.append(noise(*report_of((choice[:first], choice[first:]), weights)))
    # mean (1, 1); squared distances from it 0 + 1, 1 + 9 and 1 + 4
    assert np.mean([each.spread for each in found]) == pytest.approx(16 / 3)
    assert np.mean([each.signal for each in found]) == pytest.approx(2)


def test_equal_shards_give_the_papers_two_estimates():
    """McCandlish et al. 2018, equations A.2: |G|^2 = (B g_B - b g_b) / (B - b), S = (g_b - g_B) / (1/b - 1/B)."""
    reports, square = report_of([[(1.0, 0.0), (3.0, 2.0)], [(0.0, 2.0), (2.0, 2.0)]], [(1, 1), (1, 1)])
    assert square == 1.5**2 + 1.5**2
    small = ((2.0**2 + 1.0**2) + (1.0**2 + 2.0**2)) / 2
    assert noise(reports, square).spread == pytest.approx((small - 4.5) / (1 / 2 - 1 / 4))
    assert noise(reports, square).signal == pytest.approx((4 * 4.5 - 2 * small) / (4 - 2))


@pytest.mark.parametrize("weights", [((1, 1),), ((1, 1), (0, 0))], ids=["one shard", "one that counts"])
def test_a_single_shard_gives_no_noise_estimate(weights):
    gradients = [[(1.0, 2.0), (0.0, 1.0)]] * len(weights)
    assert all(math.isnan(each) for each in noise(*report_of(gradients, weights)))


@pytest.mark.parametrize("room", [1, 3, 7, 100])
def test_squares_of_kept_connections_are_added_up_piece_by_piece(room):
    gradient, connections = np.arange(1.0, 8.0), np.array([1.0, 0, 1, 1, 0, 0, 1])
    assert square_of_kept(gradient, connections, np.empty(room)) == 1 + 9 + 16 + 49
    assert gradient.tolist() == [1, 2, 3, 4, 5, 6, 7]
