"""BLAS uses one thread while distbp computes, and the calling program's number of threads is restored after it."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from callers import Notes
from processes import HANG_SECONDS, join
from threadpoolctl import ThreadpoolController

import distbp
from distbp.errors import UsageError
from distbp.parallel.step.worker import Worker
from distbp.system import blas

CALLERS = 3
SETTINGS: dict[str, Any] = {"workers": 0, "epochs": 2, "hidden": (8,)}


def counts() -> list[int]:
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    return [library.get_num_threads() for library in libraries if library.filepath.startswith(np.__path__[0][:-5])]


@pytest.fixture(autouse=True)
def calling_program() -> Iterator[None]:
    before = counts()
    blas.pin_threads(CALLERS)
    yield
    assert set(counts()) == {CALLERS}, "the calling program's threads should be back"
    blas.pin_threads(before[0])


class Seen(distbp.Callback):
    def __init__(self) -> None:
        self.counts: set[int] = set()

    def on_step(self, record: distbp.StepRecord) -> bool:
        self.counts |= set(counts())
        return False

    def on_start(self, run: distbp.RunRecord) -> None:
        self.counts |= set(counts())

    def on_epoch_end(self, record: distbp.EpochRecord) -> None:
        self.counts |= set(counts())


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_uses_one_thread_outside_of_its_shards(threads: int) -> None:
    seen = Seen()
    distbp.train("digits", threads=threads, callbacks=[seen], **SETTINGS)
    assert seen.counts == {1}


@pytest.mark.parametrize("threads", [1, 2])
def test_shards_use_the_configured_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    compute, seen = Worker.compute, set[int]()

    def spying(worker: Worker, *arguments: Any) -> Any:
        seen.update(counts())
        return compute(worker, *arguments)

    monkeypatch.setattr(Worker, "compute", spying)
    distbp.train("digits", threads=threads, **SETTINGS)
    assert seen == {threads}


def test_predicting_in_one_thread_does_not_change_the_shards_of_another() -> None:
    network = distbp.Network((64, 10), classes=range(10))
    with blas.one_thread(2), blas.ShardThreads(2):
        thread = threading.Thread(target=network.predict, args=(np.zeros((3, 64)),))
        thread.start()
        join(thread)
        assert set(counts()) == {2}


def test_reading_predicting_and_inspecting_restore_the_threads() -> None:
    data = distbp.load("digits")
    assert set(counts()) == {CALLERS}
    network = distbp.train(data, **SETTINGS).network
    network.predict(data.test.x)
    network.evaluate(data.test.x, data.test.y)
    network.trace(data.test.x[:3], data.test.y[:3])
    distbp.gradcheck(network)
    with distbp.Trainer(data, **SETTINGS) as trainer:
        trainer.step()
        assert set(counts()) == {1}


def test_an_error_restores_the_threads() -> None:
    with pytest.raises(distbp.DistbpError):
        distbp.train("none.csv", **SETTINGS)


class Meet(distbp.Callback):
    """Waits in its first step until all runs have reached it."""

    def __init__(self, barrier: threading.Barrier) -> None:
        self._barrier, self.counts = barrier, set[int]()

    def on_step(self, record: distbp.StepRecord) -> bool:
        if record.step == 0:
            self._barrier.wait(HANG_SECONDS)
        self.counts |= set(counts())
        return False


def test_several_threads_train_at_once() -> None:
    alone = distbp.train("digits", **SETTINGS).summary["weights_sha256"]
    barrier, results = threading.Barrier(3), []

    def run(epochs: int) -> None:
        meet = Meet(barrier)
        result = distbp.train("digits", **{**SETTINGS, "epochs": epochs}, callbacks=[meet])
        results.append((epochs, result.summary["weights_sha256"], meet.counts))

    threads = [threading.Thread(target=run, args=(epochs,)) for epochs in (2, 2, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert [(sha, seen) for epochs, sha, seen in results if epochs == 2] == [(alone, {1})] * 2
    assert [seen for epochs, _, seen in results if epochs == 9] == [{1}]


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1), (2, 2)])
def test_concurrent_runs_with_several_blas_threads_are_refused(first: int, second: int) -> None:
    began, over = threading.Event(), threading.Event()

    class Wait(distbp.Callback):
        def on_step(self, record: distbp.StepRecord) -> bool:
            began.set()
            over.wait(HANG_SECONDS)
            return False

    thread = threading.Thread(
        target=distbp.train, args=("digits",), kwargs={**SETTINGS, "threads": first, "callbacks": [Wait()]}
    )
    thread.start()
    try:
        assert began.wait(HANG_SECONDS)
        with pytest.raises(UsageError, match="one after the other"):
            distbp.train("digits", threads=second, **SETTINGS)
    finally:
        over.set()
        join(thread)


def test_a_blas_whose_threads_cannot_be_set_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_libraries", lambda: ())
    notes = Notes()
    distbp.train("digits", callbacks=[notes], **SETTINGS)
    assert [note for note in notes.notes if "number of cores" in note]
