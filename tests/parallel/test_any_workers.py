"""The number of workers is not a hyper-parameter: worker and server give the bits of one process."""

from dataclasses import replace

import numpy as np
import pytest

from distbp.config import CHOICES, Config
from distbp.data.epoch_order import EpochOrder
from distbp.nn.backprop import Backprop
from distbp.nn.initialization import initial_weights
from distbp.nn.structure import Structure
from distbp.optim import optimizer_of
from distbp.parallel.step.diagnosis import is_diagnosed
from distbp.parallel.step.executor import InProcessExecutor, all_shards, double_buffered, make_parameter_server
from distbp.parallel.step.records import Report
from distbp.parallel.step.shards import Span, cut, subtrees
from distbp.parallel.step.worker import Worker

STRUCTURE = Structure((64, 16, 10), ("relu", "softmax"), "cross-entropy")
STEPS = 10


@pytest.fixture(scope="module")
def rows(digits):
    return digits.train[:103]  # at 20 rows per step: 5 steps, then one of 3 rows, fewer than most numbers of shards


def start(config, structure=STRUCTURE):
    weights = initial_weights(structure, "he", config.seed, config.dtype)
    slots = optimizer_of(config).slots
    return np.vstack([weights, np.zeros((len(slots), weights.size), weights.dtype)])


def alone(config, rows, steps=STEPS, structure=STRUCTURE):
    pool = InProcessExecutor(structure, config, rows, start(config, structure))
    records = list(pool.steps(steps))
    return pool.state(), records


def compute(worker, step, span, shards, weights, structure=STRUCTURE):
    """Return a worker's report and its sums by span."""
    spans = subtrees(span, shards)
    out = [structure.parameters(np.full_like(weights.flat, np.nan)) for _ in spans]
    report = worker.compute(step, span, weights, out)
    return report, {span: sums.flat for span, sums in zip(spans, out, strict=True)}


def together(config, rows, workers, steps=STEPS, structure=STRUCTURE):
    """Run the steps with several workers, whose reports arrive in reverse order."""
    staff = [Worker(structure, config, rows) for _ in range(workers)]
    order = EpochOrder(len(rows), config.batch_size, config.seed)
    server = make_parameter_server(structure, config, order, double_buffered(start(config, structure), 0), 0)
    records = []
    for step in range(steps):
        shards = all_shards(order, step, config.shards).stop
        parts = cut(shards, workers)
        answers = [
            compute(worker, step, span, shards, server.weights, structure)
            for worker, span in zip(staff, parts, strict=False)
        ][::-1]
        sums = {span: total for _, found in answers for span, total in found.items()}
        records.append(
            server.update(
                step, [report for report, _ in answers], sums, diagnose=is_diagnosed(step, order.steps_per_epoch)
            )
        )
    return server.state, records


@pytest.mark.parametrize("workers", range(1, 6))
@pytest.mark.parametrize("shards", [1, 2, 3, 4, 7])
def test_state_is_bit_identical_for_any_number_of_workers(shards, workers, rows):
    config = Config(batch_size=20, shards=shards)
    state, records = together(config, rows, workers)
    expected, expected_records = alone(config, rows)
    assert state.tobytes() == expected.tobytes()
    assert [(r.step, r.rows, r.right) for r in records] == [(r.step, r.rows, r.right) for r in expected_records]
    assert [r.cost for r in records] == pytest.approx([r.cost for r in expected_records], rel=1e-14)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "nesterov": True, "dtype": "float64"},
        {"dtype": "float64"},
    ],
)
def test_state_is_bit_identical_with_every_optimizer(settings, rows):
    config = Config(batch_size=20, shards=5, **settings)
    assert together(config, rows, 3)[0].tobytes() == alone(config, rows)[0].tobytes()


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(
    "settings",
    [
        *[{"optimizer": name} for name in CHOICES["optimizer"]],
        *[{"schedule": name, "warmup": 3} for name in CHOICES["schedule"]],
        *[{"activation": name} for name in CHOICES["activation"]],
        *[{"cost": name} for name in CHOICES["cost"]],
        {"dropout": 0.3, "label_smoothing": 0.1},
        {"l1": 1e-3, "l2": 1e-3, "clip_value": 1e-3},
        {"clip_norm": 0.05, "max_norm": 0.7, "dropout": 0.5},
        {"cost": "binary-cross-entropy", "label_smoothing": 0.2, "weights": True},
        {"clip_norm": 0.05, "weights": True, "connections": True},
    ],
    ids=str,
)
def test_state_is_bit_identical_with_every_part(settings, workers, rows, rng):
    settings = dict(settings)
    connections = ()
    if settings.pop("connections", False):
        connections = ((rng.random((16, 64)) < 0.5).astype(np.uint8), None)
    if settings.pop("weights", False):
        weights = rng.random(len(rows)).astype(np.float32)
        weights[::3] = 0
        rows = replace(rows, weights=weights)
    cost = settings.get("cost", "cross-entropy")
    config = Config(batch_size=20, shards=4, hidden=(16,), epochs=2, **settings)
    output = {"cross-entropy": "softmax", "binary-cross-entropy": "sigmoid", "poisson": "softplus"}.get(cost, "tanh")
    structure = Structure((64, 16, 10), (config.activation, output), cost, connections)
    state, records = together(config, rows, workers, structure=structure)
    expected, expected_records = alone(config, rows, structure=structure)
    assert np.isfinite(state).all()
    assert state.tobytes() == expected.tobytes()
    assert [record.weight for record in records] == pytest.approx([record.weight for record in expected_records])
    assert [record.diagnosis for record in records] == [record.diagnosis for record in expected_records]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batch_size_larger_than_the_data_is_one_step_over_all_rows(workers, rows):
    config = Config(batch_size=1000, shards=4)
    state, records = together(config, rows, workers)
    assert state.tobytes() == alone(config, rows)[0].tobytes()
    assert {record.rows for record in records} == {103}


def test_another_number_of_shards_gives_nearly_the_same_weights(rows):
    settings = {"batch_size": 20, "dtype": "float64", "optimizer": "sgd"}
    one, seven = (alone(Config(shards=shards, **settings), rows)[0][0] for shards in (1, 7))
    assert one == pytest.approx(seven, rel=0, abs=1e-12)


def test_seed_changes_the_weights(rows):
    assert alone(Config(seed=0), rows)[0].tobytes() != alone(Config(seed=1), rows)[0].tobytes()


@pytest.mark.parametrize("broken_off", [1, 4, 6, 9])
def test_a_run_continues_from_a_state_with_the_same_bits(broken_off, rows):
    config = Config(batch_size=20, shards=3)
    state, _ = alone(config, rows, broken_off)
    pool = InProcessExecutor(STRUCTURE, config, rows, state, broken_off)
    assert [record.step for record in pool.steps(STEPS)] == list(range(broken_off, STEPS))
    assert pool.state().tobytes() == alone(config, rows)[0].tobytes()


@pytest.mark.parametrize("asked", [(2, Span(1, 3)), (3, Span(1, 3)), (2, Span(0, 4))])
def test_prefetched_rows_change_no_bits(asked, rows):
    config = Config(batch_size=20, shards=4)
    weights = STRUCTURE.parameters(start(config)[0])
    expected = compute(Worker(STRUCTURE, config, rows), *asked, 4, weights)
    worker = Worker(STRUCTURE, config, rows)
    worker.prefetch(2, Span(1, 3))  # the next call may be for other shards
    report, sums = compute(worker, *asked, 4, weights)
    assert report == expected[0]
    assert [total.tobytes() for total in sums.values()] == [total.tobytes() for total in expected[1].values()]


def test_a_worker_reports_its_shards_and_leaves_the_weights_unchanged(rows):
    config = Config(batch_size=20, shards=4)
    weights = STRUCTURE.parameters(start(config)[0])
    weights.flat.flags.writeable = False
    report, sums = compute(Worker(STRUCTURE, config, rows), 0, Span(1, 3), 4, weights)
    places = EpochOrder(len(rows), 20, config.seed).rows(0)[5:15]
    x, y = rows.x[places] * np.float32(rows.factor), rows.y[places]
    gradient = np.empty_like(weights.flat)
    expected = Backprop(STRUCTURE, 10, "float32").gradient(weights.layers, x, y, STRUCTURE.layers(gradient))
    assert (report.span, report.rows, report.right, report.divergence) == (Span(1, 3), 10, expected.right, None)
    assert len(report.costs) == 2
    assert sum(report.costs) == pytest.approx(expected.cost, rel=1e-6)
    assert list(sums) == [Span(1, 2), Span(2, 3)]
    assert sum(sums.values()) == pytest.approx(gradient, rel=1e-4, abs=1e-5)


def test_a_record_has_the_mean_cost_before_the_update(rows):
    config = Config(batch_size=1000, shards=4)
    _, (first,) = alone(config, rows, 1)
    x = rows.x * np.float32(rows.factor)
    sums = Backprop(STRUCTURE, 103, "float32").sums(STRUCTURE.layers(start(config)[0]), x, rows.y)
    assert first.cost == pytest.approx(sums.cost / 103, rel=1e-6)
    assert (first.rows, first.right) == (103, sums.right)


@pytest.mark.parametrize("wrong", [0, 2])
def test_server_refuses_a_step_out_of_turn(wrong, rows):
    config = Config(batch_size=20, shards=2)
    worker = Worker(STRUCTURE, config, rows)
    server = make_parameter_server(
        STRUCTURE, config, EpochOrder(len(rows), config.batch_size, config.seed), double_buffered(start(config), 1), 1
    )
    before = server.state.tobytes()
    report, sums = compute(worker, wrong, Span(0, 2), 2, server.weights)
    with pytest.raises(ValueError, match=f"step 1 is next, got the gradients of step {wrong}"):
        server.update(wrong, [report], sums)
    assert (server.step, server.state.tobytes()) == (1, before)


def test_the_server_refuses_a_step_with_a_missing_shard(rows):
    config = Config(batch_size=20, shards=4)
    server = make_parameter_server(
        STRUCTURE, config, EpochOrder(len(rows), config.batch_size, config.seed), double_buffered(start(config), 0), 0
    )
    before = server.state.tobytes()
    report, sums = compute(Worker(STRUCTURE, config, rows), 0, Span(1, 4), 4, server.weights)
    with pytest.raises(ValueError, match="shard 0 is missing"):
        server.update(0, [report], sums)
    assert (server.step, server.state.tobytes()) == (0, before)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_large_parameter_vector_is_updated_in_parts_with_the_same_bits(optimizer, rng):
    structure = Structure((600, 501), ("identity",), "mse")  # several blocks, several threads, and a remainder
    config = Config(optimizer=optimizer)
    made = optimizer_of(config)
    state = rng.random((1 + len(made.slots), structure.parameter_count), dtype=np.float32)
    left, right = rng.normal(size=(2, structure.parameter_count)).astype(np.float32)
    server = make_parameter_server(structure, config, EpochOrder(7, 7, 0), double_buffered(state, 0), 0)
    server.update(
        0,
        [Report(Span(0, 2), 7, (1.0, 1.0), 0, (4.0, 3.0), (0.0, 0.0), (0.0, 0.0))],
        {Span(0, 1): left, Span(1, 2): right},
    )
    expected = np.empty_like(state)
    made.update(state, expected, (left + right) / np.float32(7), 0, config.lr, np.empty_like(left))
    assert server.state.tobytes() == expected.tobytes()
