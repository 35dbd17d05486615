"""Events that callbacks receive, how callbacks end a run, and what happens when they fail."""

import os
import signal

import pytest
from actor_processes import actors

import distbp
from distbp.errors import Interrupted

SETTINGS = {"workers": 0, "hidden": (16,), "epochs": 4}
NOT_SENT = {"on_recovery", "on_reading"}  # one process loses no worker, and digits are not read in parts
EVENTS = [name for name in dir(distbp.Callback) if name.startswith("on_") and name not in NOT_SENT]


class Listener(distbp.Callback):
    def __init__(self):
        self.records = []

    def on_start(self, run):
        self.records.append(run)

    def on_step(self, record):
        self.records.append(record)

    def on_epoch_end(self, record):
        self.records.append(record)

    def on_checkpoint(self, record):
        assert record.path.is_file()
        self.records.append(record)

    def on_recovery(self, record):
        self.records.append(record)

    def of(self, kind):
        return [record for record in self.records if isinstance(record, kind)]


def test_events_come_in_order(tmp_path):
    listener = Listener()
    result = distbp.train("digits", run_dir=tmp_path / "run", callbacks=[listener], **SETTINGS)
    assert isinstance(listener.records[0], distbp.RunRecord)
    assert [record.step for record in listener.of(distbp.StepRecord)] == list(range(48))
    epochs = listener.of(distbp.EpochRecord)
    assert [(record.epoch, record.step) for record in epochs] == [(1, 12), (2, 24), (3, 36), (4, 48)]
    assert [record.metrics for record in epochs] == list(result.history)
    assert (epochs[-1].network.weights == result.network.weights).all()
    assert not (epochs[0].network.weights == result.network.weights).all()
    checkpoints = listener.of(distbp.CheckpointRecord)
    assert checkpoints[-1].step == 48
    assert checkpoints[-1].path == result.checkpoint
    assert listener.of(distbp.RecoveryRecord) == []


def test_the_result_is_the_same_with_and_without_callbacks():
    watched = distbp.train("digits", callbacks=[Listener(), Listener()], **SETTINGS)
    assert watched.summary["weights_sha256"] == distbp.train("digits", **SETTINGS).summary["weights_sha256"]


class FinishAfter(distbp.Callback):
    def __init__(self, epoch):
        self._epoch = epoch

    def on_epoch_end(self, record):
        return record.epoch == self._epoch


def test_a_callback_may_finish_the_run_after_an_epoch(tmp_path):
    result = distbp.train("digits", run_dir=tmp_path / "run", callbacks=[FinishAfter(2)], **SETTINGS)
    short = distbp.train("digits", **{**SETTINGS, "epochs": 2})
    assert result.summary["weights_sha256"] == short.summary["weights_sha256"]
    assert (result.summary["epochs"], len(result.history)) == (2, 2)
    assert (tmp_path / "run" / "model.safetensors").exists()


class Failing(distbp.Callback):
    """Callback that raises in one event."""

    def __init__(self, event, error):
        self.times = 0
        setattr(self, event, lambda record: self._fail(error))

    def _fail(self, error):
        self.times += 1
        raise error


@pytest.mark.parametrize("event", EVENTS)
def test_an_exception_ends_the_run_and_names_the_callback(event, tmp_path):
    settings = {**SETTINGS, "batch_size": 2000, "checkpoint_seconds": 1e-6}  # larger than the data: this causes a note
    failing = Failing(event, RuntimeError("no more\nat all"))
    with pytest.raises(distbp.CallbackError, match=rf"callback Failing.{event} failed after step \d+: Run.*: no more$"):
        distbp.train("digits", run_dir=tmp_path / "run", callbacks=[failing], **settings)


def test_the_cause_is_chained_and_the_run_can_be_resumed(tmp_path):
    whole = distbp.train("digits", **SETTINGS)
    cause = ZeroDivisionError("division by zero")
    with pytest.raises(distbp.CallbackError, match=r"Failing.on_step failed after step 1: ZeroDiv") as caught:
        distbp.train("digits", run_dir=tmp_path / "run", callbacks=[Failing("on_step", cause)], **SETTINGS)
    assert caught.value.__cause__ is cause
    again = distbp.resume(tmp_path / "run")
    assert again.summary["weights_sha256"] == whole.summary["weights_sha256"]


class Ending(distbp.Callback):
    def __init__(self, *events):
        self.ends = []
        for event in events:
            setattr(self, event, lambda record: 1 / 0)

    def on_end(self, error):
        self.ends.append(error)


@pytest.mark.parametrize("event", ["on_start", "on_step", "on_epoch_end"])
def test_on_end_is_called_once_for_any_outcome(event):
    fine, failing = Ending(), Ending(event)
    distbp.train("digits", callbacks=[fine], **SETTINGS)
    assert fine.ends == [None]
    with pytest.raises(distbp.CallbackError) as caught:
        distbp.train("digits", callbacks=[failing], **SETTINGS)
    assert failing.ends == [caught.value]


@pytest.mark.parametrize("event", [None, "on_step"])
def test_all_callbacks_receive_the_end_even_if_one_fails(event):
    def failing(error):
        return Failing("on_end", error)

    ended = Ending(*filter(None, [event]))
    callbacks = [failing(ValueError("first")), failing(Interrupted("second")), ended]
    with pytest.raises(distbp.CallbackError, match=f"{event or 'Failing.on_end'}.*: {'Zero' if event else 'Value'}"):
        distbp.train("digits", callbacks=callbacks, **SETTINGS)
    assert [type(error) for error in ended.ends] == [distbp.CallbackError if event else type(None)]
    assert callbacks[0].times == callbacks[1].times == 1


def test_library_errors_and_interrupts_are_not_wrapped():
    for error in (Interrupted("enough"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            distbp.train("digits", callbacks=[Failing("on_step", error)], **SETTINGS)


class KillAWorker(Listener):
    def on_step(self, record):
        if record.step == 20:
            os.kill(actors("_Worker")[0].pid, signal.SIGKILL)

    def on_epoch_end(self, record):
        return bool(self.of(distbp.RecoveryRecord))


@pytest.mark.ray
def test_callbacks_receive_the_loss_of_a_worker(shared_ray):
    killer = KillAWorker()
    settings = {**SETTINGS, "epochs": 1000000, "hidden": (64, 64)}
    result = distbp.train("digits", callbacks=[killer], **{**settings, "workers": 2})
    (record,) = killer.of(distbp.RecoveryRecord)
    assert "worker" in record.text
    assert record.recoveries == result.summary["recoveries"] == 1
