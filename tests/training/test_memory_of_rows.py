"""A run on workers keeps no copy of the training rows in the driver."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
from callers import EndAfter

import distbp
from distbp.errors import Interrupted
from distbp.parallel.step.executor import InProcessExecutor
from distbp.training.callbacks import Callback

SETTINGS = {"hidden": (8,), "batch_size": 100, "epochs": 2}


class OwnCopy(InProcessExecutor):
    """Simulated workers that copy the rows, as Ray's object store does."""

    originals: list[weakref.ref[np.ndarray]] = []  # noqa: RUF012

    def __init__(self, structure, config, rows, state, note, step):
        self.originals.append(weakref.ref(rows.x))
        super().__init__(structure, config, replace(rows, x=rows.x.copy()), state, step)

    def steps(self, stop, factor=1.0):
        for record in super().steps(stop, factor):
            yield replace(record, seconds=record.seconds / 1000)  # so that auto prefers these workers


class Freed(Callback):
    """Callback that checks, at the start and after each step, that the executor's rows are freed."""

    def __init__(self):
        self.is_freed = set()

    def on_start(self, run):
        self._look()

    def on_step(self, record):
        self._look()

    def _look(self):
        self.is_freed |= {original() is None for original in OwnCopy.originals}


@pytest.fixture(autouse=True)
def _own_copy(monkeypatch):
    monkeypatch.setattr("distbp.actors.ActorExecutor", OwnCopy)
    monkeypatch.setattr(OwnCopy, "originals", [])
    monkeypatch.setattr("distbp.training.executors.start.useful_workers", lambda config, rows: 2)
    monkeypatch.setattr("distbp.training.executors.choice.RAY_START_SECONDS", -1e9)  # so that auto tries workers


def arrays():
    random = np.random.default_rng(0)
    return random.normal(size=(500, 4)).astype(np.float32), random.integers(0, 2, 500)


def loaded():
    x, y = arrays()
    return distbp.load((x, y))


@pytest.mark.parametrize("workers", [2, "auto"])
@pytest.mark.parametrize("data", [arrays, loaded])
@pytest.mark.parametrize("settings", [{}, {"early_stopping": 5}, {"class_weights": "balanced"}])
def test_rows_are_freed_when_the_workers_have_them(data, workers, settings, tmp_path):
    config, freed = distbp.Config(workers=workers, **SETTINGS, **settings), Freed()
    distbp.train(data(), config, run_dir=tmp_path / "run", callbacks=[freed])
    assert freed.is_freed == {True}


@pytest.mark.parametrize("workers", [2, "auto"])
@pytest.mark.parametrize("data", [arrays, loaded])
def test_a_resumed_run_frees_the_rows(data, workers, tmp_path):
    with pytest.raises(Interrupted):
        distbp.train(data(), workers=0, run_dir=tmp_path / "run", callbacks=[EndAfter(3)], **SETTINGS)
    freed = Freed()
    distbp.resume(tmp_path / "run", data(), workers=workers, callbacks=[freed])
    assert freed.is_freed == {True}


def test_a_verified_run_frees_the_rows(tmp_path):
    from distbp.training.verify import verify

    x, y = arrays()
    np.savez(tmp_path / "rows.npz", x=x, y=y)
    distbp.train(tmp_path / "rows.npz", workers=0, run_dir=tmp_path / "run", **SETTINGS)
    freed = Freed()
    assert verify(tmp_path / "run", workers=2, callbacks=[freed])[1] is None
    assert freed.is_freed == {True}
