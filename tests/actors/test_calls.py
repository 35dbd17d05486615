"""How a call of an actor may end: with a death, from which a run recovers, or with an error of the called code."""

import inspect
import os
import signal

import pytest
from actor_processes import actors

pytest.importorskip("ray")

import ray
from ray import exceptions
from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError, RayActorError, RayError, RayTaskError

import distbp
from distbp.actors.connection import calls
from distbp.actors.connection.calls import death, is_loss
from distbp.errors import ClusterError, CorruptError, PeerLostError

KINDS = sorted(
    (
        kind
        for kind in vars(exceptions).values()
        if inspect.isclass(kind) and issubclass(kind, RayError) and not issubclass(kind, RayTaskError)
    ),
    key=lambda kind: kind.__name__,
)


def of_kind(kind: type[RayError]) -> RayError:
    """Make an error of this class of Ray's without its constructor's arguments."""
    error = kind.__new__(kind)
    Exception.__init__(error, "no luck\nsecond line")
    vars(error).update(vars(RayActorError()))
    texts = ("message", "client_exc", "traceback_str", "error_message", "object_ref_hex", "call_site", "reason_message")
    vars(error).update(
        dict.fromkeys(texts, "no luck"),
        _original_stack_trace="no luck",
        task_id=None,
        owner_address=None,
        rpc_code=1,
        reason=None,
        actor_id=None,
    )
    return error


def of_task(cause: Exception) -> RayError:
    error = RayTaskError("work", "Traceback ..", cause, proctitle="worker", pid=1, ip="127.0.0.1")
    found: RayError = error.as_instanceof_cause()
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_of_rays_errors_is_a_death(kind: type[RayError]) -> None:
    error = of_kind(kind)
    said = death(error, "worker 3")
    assert "\n" not in said
    assert death(RayTaskError("work", "Traceback ..", error, proctitle="w", pid=1, ip="127.0.0.1"), "worker 3") == said


def test_the_cause_is_named_if_ray_knows_it() -> None:
    assert death(OutOfMemoryError("long\ntext"), "worker 1") == "memory: Ray's memory monitor killed it"
    assert death(NodeDiedError("text"), "worker 1") == "its node died"
    assert death(ActorDiedError(), "worker 1") == ""
    assert death(RayActorError(preempted=True), "worker 1") == "its node was preempted"
    assert is_loss(of_task(OutOfMemoryError("text")))
    assert not is_loss(OutOfMemoryError("text"))


@pytest.mark.parametrize("kind", [CorruptError, PeerLostError, ClusterError])
def test_an_error_of_distbp_is_raised_again(kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^found this$"):
        death(of_task(kind("found this")), "worker 1")


def test_other_errors_of_the_called_code_are_named() -> None:
    with pytest.raises(PeerLostError, match=r"^worker 1 failed: ZeroDivisionError: by zero$"):
        death(of_task(ZeroDivisionError("by zero\nand more")), "worker 1")
    with pytest.raises(PeerLostError, match=r"^worker 1 could not start: it broke$"):
        death(ActorDiedError(RayTaskError("f", "Traceback\nit broke", ValueError())), "worker 1")


class KillAll(distbp.Callback):
    """Kills the server and all workers at once, as Ray's memory monitor does."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.killed = 0

    def on_note(self, text: str) -> None:
        self.notes.append(text)

    def on_step(self, record: object) -> None:
        if record.step == 20:
            for process in actors("_Worker") + actors("_Server"):
                os.kill(process.pid, signal.SIGKILL)
                self.killed += 1


@pytest.mark.ray
def test_actors_that_the_memory_monitor_kills_are_replaced(shared_ray: str, monkeypatch: pytest.MonkeyPatch) -> None:
    get = ray.get

    class Monitored:
        """Ray that blames the memory monitor for every death."""

        def __getattr__(self, name: str) -> object:
            return getattr(ray, name)

        def get(self, *given: object, **named: object) -> object:
            try:
                return get(*given, **named)
            except RayActorError as error:
                raise OutOfMemoryError("Task was killed due to the node running low on memory.\nMore") from error

    settings = {"epochs": 4, "shards": 4, "batch_size": 32}
    monkeypatch.setattr(calls, "ray", Monitored())
    watch = KillAll()
    result = distbp.train("digits", workers=2, callbacks=[watch], **settings)
    alone = distbp.train("digits", workers=0, **settings)
    assert watch.killed == 3
    assert result.summary["weights_sha256"] == alone.summary["weights_sha256"]
    (told,) = [note for note in watch.notes if "the parameter server" in note]
    assert "(memory: Ray's memory monitor killed it): a new one continues" in told
