"""User-written training loops give the bits of distbp.train, in this process and on workers."""

import pytest

import distbp
from distbp.errors import Interrupted, UsageError
from distbp.model.files import weights_sha256

SETTINGS = {"hidden": (24,), "epochs": 2, "schedule": "cosine", "dropout": 0.1, "shards": 3}


def trained(**settings):
    with distbp.Trainer("digits", **SETTINGS, **settings) as trainer:
        records = list(trainer)
        return records, trainer.network, trainer.evaluate()


def test_single_steps_equal_the_whole_run():
    whole = distbp.train("digits", workers=0, **SETTINGS)
    records, network, evaluation = trained(workers=0)
    assert [record.step for record in records] == list(range(24))
    assert weights_sha256(network.weights) == whole.summary["weights_sha256"]
    assert evaluation.accuracy == whole.summary["test_accuracy"]


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_single_steps_on_workers_equal_the_whole_run():
    records, network, _ = trained(workers=2)
    alone, by_itself, _ = trained(workers=0)
    assert weights_sha256(network.weights) == weights_sha256(by_itself.weights)
    assert [record.cost for record in records] == [record.cost for record in alone]


def test_reading_the_network_between_steps_changes_nothing():
    with distbp.Trainer("digits", workers=0, **SETTINGS) as trainer:
        networks = []
        for _ in range(24):
            trainer.step()
            networks.append(trainer.network)
    assert len({weights_sha256(network.weights) for network in networks}) == 24
    assert weights_sha256(networks[-1].weights) == weights_sha256(trained(workers=0)[1].weights)


def test_misuse_of_a_trainer_is_refused():
    with distbp.Trainer("digits", workers=0, **SETTINGS) as trainer:
        list(trainer)
        with pytest.raises(UsageError, match="all 24 steps of 2 epochs are done"):
            trainer.step()
    with pytest.raises(UsageError, match="not running: use it in a with block"):
        trainer.step()
    with pytest.raises(UsageError, match="need the costs of whole epochs"):
        distbp.Trainer("digits", early_stopping=3)


def test_training_starts_from_a_given_network_without_changing_it():
    network = distbp.Network((64, 24, 10), seed=3)
    before = network.weights.copy()
    with distbp.Trainer("digits", network=network, workers=0, epochs=1) as trainer:
        assert (trainer.network.weights == before).all()
        trainer.step()
        assert not (trainer.network.weights == before).all()
    assert (network.weights == before).all()


class RecordingCallback(distbp.Callback):
    """Callback that records its events and asks for the end after some steps."""

    def __init__(self, enough=None):
        self.begun, self.ends, self.steps, self._enough = [], [], 0, enough

    def on_start(self, run):
        self.begun.append(run)

    def on_step(self, record):
        self.steps += 1
        return self.steps == self._enough

    def on_end(self, error):
        self.ends.append(error)


def test_callbacks_receive_start_and_end():
    events = RecordingCallback()
    with distbp.Trainer("digits", workers=0, callbacks=[events], **SETTINGS) as trainer:
        (run,) = events.begun
        assert (run.train_rows, run.steps_per_epoch, run.step) == (len(trainer.data.train), 12, 0)
        assert run.structure == trainer.structure
        list(trainer)
        assert (events.steps, events.ends) == (24, [])
    assert events.ends == [None]
    with (
        pytest.raises(ZeroDivisionError) as caught,
        distbp.Trainer("digits", workers=0, callbacks=[events], **SETTINGS) as trainer,
    ):
        raise ZeroDivisionError
    assert events.ends == [None, caught.value]


def test_a_callback_may_stop_the_trainer():
    events = RecordingCallback(enough=5)
    with (
        pytest.raises(Interrupted, match="a callback stopped the trainer after step 5") as caught,
        distbp.Trainer("digits", workers=0, callbacks=[events], **SETTINGS) as trainer,
    ):
        assert [record.step for record in trainer] == [0, 1, 2, 3, 4]
        assert trainer.stopped
        trainer.step()
    assert events.steps == 5
    assert events.ends == [caught.value]
