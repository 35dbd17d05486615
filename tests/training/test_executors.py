"""Which executor ``auto`` starts, keeps and ends, also when workers are not available."""

import dataclasses
import re
import shutil
from collections import namedtuple

import numpy as np
import pytest

import distbp
import distbp.training.train
from distbp.errors import ClusterError, Interrupted, PeerLostError
from distbp.nn.structure import Structure
from distbp.parallel.step.executor import InProcessExecutor
from distbp.training.callbacks import Callback
from distbp.training.executors.choice import Speed
from distbp.training.executors.start import initial_state, missing_memory, useful_workers

Usage = namedtuple("Usage", "total used free")
EPOCHS = 10**6
"""So many that workers are worth trying on any machine; the tests stop long before."""


class Recorder(Callback):
    """Callback that records notes and the initial workers; ends the run after ``steps``, if given."""

    def __init__(self, steps=None):
        self.notes, self.workers, self._steps = [], None, steps

    def on_note(self, text):
        self.notes.append(text)

    def on_start(self, record):
        self.workers = record.config.workers

    def on_step(self, record):
        return record.step + 1 == self._steps

    def on_epoch_end(self, record):
        return True

    @property
    def about_workers(self):
        """Return the only note about the choice."""
        (note,) = [note for note in self.notes if note.startswith("training ")]
        return note


@pytest.fixture
def quicker_with_workers(monkeypatch):
    monkeypatch.setattr("distbp.training.executors.start.measure_in_process", lambda *given: Speed(1000.0, 500.0, 2))
    monkeypatch.setattr("distbp.training.executors.start.useful_workers", lambda config, rows: 2)


@pytest.fixture
def two_cores(monkeypatch):
    """Simulate two cores with an instant exchange, so that two workers could be faster on any machine."""
    monkeypatch.setattr("distbp.training.executors.choice.EXCHANGE_SECONDS", 0.0)
    monkeypatch.setattr("distbp.training.executors.start.cpu_count", lambda: 2)


@pytest.mark.parametrize("why", ["memory", "ray", "workers die"])
def test_auto_uses_this_process_if_workers_are_not_available(why, quicker_with_workers, monkeypatch):
    class Dying(InProcessExecutor):
        def __init__(self, structure, config, rows, state, note, step):
            super().__init__(structure, config, rows, state, step)

        def steps(self, stop, factor=1.0):
            raise PeerLostError("no worker is left")
            yield

        def __exit__(self, *given):
            ended.append(True)

    def cannot(*given, **named):
        raise ClusterError("Ray did not start")

    ended = []
    monkeypatch.setattr("distbp.actors.ActorExecutor", Dying if why == "workers die" else cannot)
    if why == "memory":
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1 << 16, 0, 1 << 16))
    heard = Recorder()
    result = distbp.train("digits", workers="auto", epochs=1, callbacks=[heard])
    alone = distbp.train("digits", workers=0, epochs=1)
    assert result.summary["weights_sha256"] == alone.summary["weights_sha256"]
    assert result.summary["workers"] == heard.workers == 0
    assert heard.about_workers.startswith("training in this process (")
    told = {
        "memory": "2 workers need 1 MB of shared memory, /dev/shm has 0 free",
        "ray": "2 workers cannot be used (Ray did not start)",
        "workers die": "2 workers cannot be used (no worker is left)",
    }
    assert told[why] in heard.about_workers
    assert ended == [True] * (why == "workers die")


class SimulatedWorkers(InProcessExecutor):
    """Simulated workers in this process, whose reported times are multiplied by ``times``; records events."""

    times = 1.0
    events: list[str] = []  # noqa: RUF012

    def __init__(self, structure, config, rows, state, note, step):
        super().__init__(structure, config, rows, state, step)
        self.events.append(f"{config.workers} workers made")

    def __enter__(self):
        self.events.append("entered")
        return super().__enter__()

    def __exit__(self, *given):
        self.events.append("ended")

    def steps(self, stop, factor=1.0):
        for record in super().steps(stop, factor):
            yield dataclasses.replace(record, seconds=self.times * record.seconds)

    def restart(self, state, step):
        self.events.append(f"back to step {step}")
        super().restart(state, step)


@pytest.fixture
def simulated_workers(monkeypatch):
    """Replace the workers of a run by simulated ones."""

    def make(times):
        kind = type("Timed", (SimulatedWorkers,), {"times": times, "events": []})
        monkeypatch.setattr("distbp.actors.ActorExecutor", kind)
        return kind

    return make


WIDE = {"hidden": (256, 256), "batch_size": 512, "shards": 4}
"""Settings for steps of several milliseconds."""


@pytest.fixture(scope="module")
def many_rows():
    """Return random rows, enough to measure steps."""
    random = np.random.default_rng(0)
    return random.random((4096, 64), dtype=np.float32), random.integers(0, 10, 4096)


@pytest.mark.parametrize(("times", "chosen"), [(1e-3, 2), (1e3, 0)])
def test_the_default_keeps_the_faster_executor_and_ends_the_other(
    times, chosen, two_cores, simulated_workers, many_rows
):
    kind, heard = simulated_workers(times), Recorder()
    with distbp.Trainer(many_rows, epochs=EPOCHS, callbacks=[heard], **WIDE) as trainer:
        assert trainer.step_number == 0  # measured steps do not count
        for _ in range(3):
            trainer.step()
        weights = trainer.network.weights.copy()
        going_on = list(kind.events)
    assert heard.workers == chosen
    assert heard.about_workers.startswith("training with 2 workers (" if chosen else "training in this process (")
    begun = ["2 workers made", "entered"]
    assert going_on == [*begun, "back to step 0" if chosen else "ended"]
    assert kind.events == [*going_on, *(["ended"] if chosen else [])]
    with distbp.Trainer(many_rows, epochs=EPOCHS, workers=0, **WIDE) as trainer:
        for _ in range(3):
            trainer.step()
        assert trainer.network.weights.tobytes() == weights.tobytes()


def test_the_default_does_not_start_ray_for_a_short_run(two_cores, simulated_workers, many_rows, monkeypatch):
    monkeypatch.setattr("distbp.training.executors.choice.RAY_START_SECONDS", 3600.0)
    kind, heard = simulated_workers(1e-3), Recorder()
    with distbp.Trainer(many_rows, epochs=1, callbacks=[heard], **WIDE):
        assert heard.workers == 0
    assert kind.events == []


@pytest.mark.parametrize(
    ("shards", "rows", "cores", "expected"),
    [(4, 1000, 2, 2), (4, 1000, 16, 4), (4, 3, 16, 3), (8, 1, 16, 1), (4, 1000, 1, 1), (1, 1000, 16, 1)],
)
def test_useful_workers_are_limited_by_cores_shards_and_rows(shards, rows, cores, expected, monkeypatch):
    monkeypatch.setattr("distbp.training.executors.start.cpu_count", lambda: cores)
    assert useful_workers(distbp.Config(shards=shards), rows) == expected


def test_useful_workers_are_limited_by_the_free_bundles_of_a_placement_group(two_cores, monkeypatch):
    monkeypatch.setattr("distbp.actors.free_cpus", lambda: 3)
    assert useful_workers(distbp.Config(shards=4), 1000) == 3
    monkeypatch.setattr("distbp.actors.free_cpus", lambda: 0)
    assert useful_workers(distbp.Config(shards=4), 1000) == 1


def test_a_run_notes_slower_workers_after_its_first_epoch(two_cores, simulated_workers, many_rows):
    for times, speaks in ((1e3, True), (1e-3, False)):
        simulated_workers(times)
        heard = Recorder()
        distbp.train(many_rows, workers=2, epochs=3, callbacks=[heard], **WIDE)
        told = [note for note in heard.notes if "samples/s" in note]
        assert len(told) == speaks
        for note in told:
            assert note.startswith("2 workers reach ")
            assert note.endswith(": --workers 0 or auto is faster here")


@pytest.mark.parametrize(("epochs", "speaks"), [(EPOCHS, True), (1, False)])
def test_a_long_run_in_this_process_suggests_workers_after_its_first_epoch(epochs, speaks, two_cores, many_rows):
    heard = Recorder()
    distbp.train(many_rows, workers=0, epochs=epochs, callbacks=[heard], **WIDE)
    told = [note for note in heard.notes if "samples/s" in note]
    assert len(told) == speaks
    assert all(note.startswith("--workers 2 could reach ") for note in told)


@pytest.mark.ray
def test_the_default_measures_real_workers_and_keeps_the_faster_executor(two_cores, many_rows, shared_ray):
    heard = Recorder(steps=3)
    with pytest.raises(Interrupted):
        distbp.train(many_rows, epochs=EPOCHS, callbacks=[heard], **WIDE)
    note = heard.about_workers
    chosen, other = (int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\d", note))
    if heard.workers == 2:
        assert note == f"training with 2 workers ({chosen:,} samples/s): this process reaches {other:,}"
    else:
        assert note == f"training in this process ({chosen:,} samples/s): 2 workers reach {other:,}"
    assert chosen >= other


@pytest.mark.parametrize("workers", [2, "2..3"])
def test_more_workers_than_fit_are_refused_before_ray_starts(workers, monkeypatch):
    monkeypatch.setattr("distbp.actors.ActorExecutor", pytest.fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1 << 16, 0, 1 << 16))
    with pytest.raises(ClusterError, match=r"2 workers need .* free: make it larger .docker run --shm-size=2g., use"):
        distbp.train("digits", workers=workers, epochs=1)


def test_needed_memory_includes_the_shared_arrays(monkeypatch):
    config = distbp.Config(hidden=(2048, 2048, 2048), shards=4).for_task("classification")
    structure = Structure((784, *config.hidden, 10), ("relu", "relu", "relu", "softmax"), "cross-entropy")
    state = initial_state(structure, config)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, 350 << 20))
    assert missing_memory(config, state, structure.depth, 2, spare=False) is None
    assert "2 workers need 460 MB" in missing_memory(config, state, structure.depth, 2, spare=True)
