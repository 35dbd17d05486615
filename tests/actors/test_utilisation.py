"""The driver's records of the workers' time, with a simulated clock."""

from types import SimpleNamespace

import pytest

from distbp.actors import utilisation
from distbp.actors.actor_base import Ping
from distbp.actors.host_handle import HostHandle
from distbp.parallel.step.shards import Span


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(utilisation, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def update(shares, clock, *told):
    for now, computed in told:
        clock.now = now
        shares.update("worker 0", computed)
    return shares.of("worker 0")


def test_the_share_of_computing_covers_the_last_seconds(clock):
    shares = utilisation.ComputingShares()
    assert shares.of("worker 0") is None
    assert update(shares, clock, (100, 7.0)) is None
    assert update(shares, clock, (101, 7.25)) == 0.25
    assert 0.25 < update(shares, clock, (102, 8.25)) < 1
    assert update(shares, clock, *((second, second - 93.75) for second in range(103, 130))) == pytest.approx(
        1, abs=1e-4
    )


def test_a_silent_worker_counts_as_computing_first_and_then_as_waiting(clock):
    shares = utilisation.ComputingShares()
    assert update(shares, clock, (100, 0.0), (101, 0.5), (102, 0.5), (110, 0.5)) == 0.5
    assert update(shares, clock, (112, 0.5)) < 0.01


def test_a_replaced_worker_begins_again_at_0(clock):
    shares = utilisation.ComputingShares()
    assert update(shares, clock, (100, 50.0), (101, 50.5), (102, 0.0)) == 0.5
    assert update(shares, clock, (103, 0.5)) == pytest.approx(0.5)


def test_times_of_workers_of_two_hosts(clock):
    times = utilisation.HostsTime()
    a = HostHandle(None, Ping("a", "node a", {}), (0, 1))
    b = HostHandle(None, Ping("b", "node b", {}), (0,))
    times.update(a, [1.0, 2.0, 0.5])
    times.update(b, [3.0, 0.25])
    clock.now += 1
    times.update(a, [1.5, 2.0, 0.75])
    a.last_answer = clock.now
    clock.now += 1
    first, second, third = times.workers([a, b], 3)
    assert times.spent().computing == {"worker 0 on host a": 1.5, "worker 1 on host a": 2.0, "worker 0 on host b": 3.0}
    assert times.spent().serving == 0.75
    assert (first.host, first.shards, first.computing, first.silent) == ("a", Span(0, 1), 0.5, 1.0)
    assert (second.computing, third.computing, third.host, third.shards) == (None, None, "b", Span(2, 3))
