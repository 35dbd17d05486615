"""The end of a run on a cluster takes bounded time, whatever part of Ray is gone; without Ray."""

import threading
import time
from contextlib import ExitStack, contextmanager

import pytest

pytest.importorskip("ray")

from distbp.actors.connection import session, shutdown
from distbp.errors import ClusterError, HeadLostError, Interrupted


class Contexts:
    """A run's contexts, of which one may hang; records how each was left."""

    def __init__(self, hangs=()):
        self.left, self._hangs, self.free = [], hangs, threading.Event()
        self.everything = ExitStack()
        self.session = self.everything.enter_context(ExitStack())
        self.session.enter_context(self._context("session"))
        for name in ("placement", "memory"):
            self.everything.enter_context(self._context(name))

    @contextmanager
    def _context(self, name):
        try:
            yield
        except BaseException as error:
            self._leave(name, type(error))
            raise
        self._leave(name, None)

    def _leave(self, name, error):
        if name in self._hangs:
            self.free.wait(60)
        self.left.append((name, error))

    def close(self, error=None, is_asked_again=lambda: False):
        began = time.monotonic()
        shutdown.close(self.everything, self.session, error, 60.0, is_asked_again)
        self.free.set()
        return time.monotonic() - began


@pytest.fixture
def cluster(monkeypatch):
    """Pretend that this process is connected to a cluster."""
    there = {"head": True, "raylet": True}
    monkeypatch.setattr(shutdown.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(shutdown.ray, "get_runtime_context", lambda: type("Context", (), {"gcs_address": "head:1"}))
    monkeypatch.setattr(session, "_broken", [])
    monkeypatch.setattr(shutdown, "head_answers", lambda address: there["head"])
    monkeypatch.setattr(shutdown, "raylet_answers", lambda: there["raylet"])
    monkeypatch.setattr(shutdown, "_SECONDS", 0.5)
    monkeypatch.setattr(shutdown, "_HEADLESS_SECONDS", 0.3)
    return there


def test_all_contexts_are_left_with_the_error_of_the_run(cluster):
    contexts = Contexts()
    contexts.close(Interrupted("stop"))
    assert contexts.left == [("memory", Interrupted), ("placement", Interrupted), ("session", Interrupted)]


@pytest.mark.parametrize("hanging", ["placement", "session"])
def test_a_hanging_context_is_abandoned_after_an_error(cluster, hanging):
    contexts = Contexts([hanging])
    assert contexts.close(Interrupted("stop")) < 30
    assert contexts.left[0] == ("memory", Interrupted)


def test_a_lost_head_is_not_called(cluster):
    cluster["head"] = False
    contexts = Contexts()
    contexts.close(Interrupted("stop"))
    assert contexts.left == [("memory", HeadLostError), ("placement", HeadLostError), ("session", HeadLostError)]


def test_without_a_raylet_the_connection_is_left_alone(cluster):
    cluster["raylet"] = False
    contexts = Contexts()
    contexts.close(Interrupted("stop"))
    assert [name for name, _ in contexts.left] == ["memory", "placement"]
    with pytest.raises(ClusterError, match="has lost its Ray"), session.ray_session(None, 1):
        pass


def test_a_second_signal_ends_the_wait(cluster, monkeypatch):
    monkeypatch.setattr(shutdown, "_SECONDS", 60.0)
    contexts = Contexts(["placement"])
    assert contexts.close(KeyboardInterrupt(), is_asked_again=lambda: True) < 30


def test_a_failure_while_closing_is_raised(cluster):
    contexts = Contexts()
    contexts.everything.callback(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        contexts.close()
