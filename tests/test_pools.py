"""Who computes: what ``auto`` makes of a machine where workers would be quicker but cannot be had."""

import shutil
from collections import namedtuple

import pytest

import distbp
import distbp.training
from distbp.callbacks import Callback
from distbp.errors import ClusterError
from distbp.nn.structure import Structure
from distbp.pools import Speed, initial_state, too_little_memory

Usage = namedtuple("Usage", "total used free")


class Notes(Callback):
    def __init__(self):
        self.notes = []

    def on_note(self, text):
        self.notes.append(text)


@pytest.fixture
def quicker_with_workers(monkeypatch):
    monkeypatch.setattr("distbp.pools.measure_here", lambda *given: Speed(1000.0, 500.0, 2))
    monkeypatch.setattr("distbp.pools.most_useful_workers", lambda config: 2)


@pytest.mark.parametrize("why", ["memory", "ray"])
def test_auto_computes_here_where_workers_cannot_be_had(why, quicker_with_workers, monkeypatch):
    def cannot(*given, **named):
        raise ClusterError("Ray did not start")

    monkeypatch.setattr("distbp.actors.ActorPool", cannot)
    if why == "memory":
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1 << 16, 0, 1 << 16))
    heard = Notes()
    result = distbp.train("digits", workers="auto", epochs=1, callbacks=[heard])
    alone = distbp.train("digits", workers=0, epochs=1)
    assert result.summary["weights_sha256"] == alone.summary["weights_sha256"]
    assert result.summary["workers"] == 0
    (note,) = [note for note in heard.notes if note.startswith("workers: ")]
    assert note.endswith(": this process")
    if why == "memory":
        assert "2 workers need 0 MB of shared memory, /dev/shm has 0 free" in note
    else:
        assert "2 workers cannot be used (Ray did not start)" in note


@pytest.mark.parametrize("workers", [2, "2..3"])
def test_a_chosen_number_of_workers_that_finds_no_room_is_refused_before_ray_starts(workers, monkeypatch):
    monkeypatch.setattr("distbp.actors.ActorPool", pytest.fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1 << 16, 0, 1 << 16))
    with pytest.raises(ClusterError, match=r"2 workers need .* free: make it larger .docker run --shm-size=2g., use"):
        distbp.train("digits", workers=workers, epochs=1)


def test_memory_counts_what_workers_share(monkeypatch):
    config = distbp.Config(hidden=(2048, 2048, 2048), shards=4).for_task("classification")
    structure = Structure((784, *config.hidden, 10), ("relu", "relu", "relu", "softmax"), "cross-entropy")
    state = initial_state(structure, config)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, 350 << 20))
    assert too_little_memory(config, state, structure.depth, 2, spare=False) is None
    assert "2 workers need 459 MB" in too_little_memory(config, state, structure.depth, 2, spare=True)
