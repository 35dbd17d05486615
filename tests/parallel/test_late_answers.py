"""Late workers on hosts that exchange sums: a late answer never counts for another step."""

import threading

import numpy as np
import pytest
from parallel.clusters import Cluster, alone, view_of
from parallel.hosts import config
from processes import HANG_SECONDS, wait_until

from distbp.errors import CorruptError
from distbp.parallel.host.decisions import Compare, Compute
from distbp.parallel.host.duplicates import Duplicates
from distbp.parallel.step.shards import Span

LATE, STEPS = 5, 16


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr("distbp.parallel.mesh.chunks.CHUNK", 3)
    monkeypatch.setattr("distbp.parallel.mesh.factors._MEASURED_SECONDS", 0.001)


def cluster_of_two(settings, faults, measures=False):
    """Return two hosts that have met, each with two workers that have joined."""
    here = Cluster((2, 2), settings, faults)
    for host in here.hosts:
        host.wait_for_workers(HANG_SECONDS)
    wait_until(lambda: all(len(host._server_loop._workers.supervisor.idle) == 2 for host in here.hosts))
    view = view_of(here.hosts, (2, 2), settings)._replace(measures=measures)
    assert not any(here.join_view(view).values())
    return here


def check(here, settings):
    for host in here.hosts:
        assert here.wait(host)[0].steps == STEPS
        assert np.array_equal(host.state(STEPS), alone(settings, STEPS)[1])


def test_sums_that_arrive_during_a_pause_do_not_count_for_the_next_step():
    settings, go = config(4), threading.Event()
    here = cluster_of_two(settings, {(0, 1): {(LATE, 1): lambda: go.wait(HANG_SECONDS)}})
    try:
        here.run(0, LATE + 1)
        for host in here.hosts:  # the other worker has computed that shard as a backup task
            assert here.wait(host)[0].steps == LATE + 1
        go.set()
        wait_until(lambda: here.hosts[0]._server_loop._workers.supervisor.is_quiet)
        here.run(LATE + 1, STEPS)
        check(here, settings)
    finally:
        go.set()
        here.close()


def test_factors_that_are_written_late_do_not_count_for_the_next_step():
    settings, go, written = config(8), threading.Event(), threading.Event()

    def let_it_write():
        go.set()
        written.wait(HANG_SECONDS)

    late = {(LATE, 2): lambda: go.wait(HANG_SECONDS), (LATE, "end"): written.set}
    here = cluster_of_two(settings, {(0, 1): late, (0, 0): {(LATE + 1, "end"): let_it_write}}, measures=True)
    try:
        for host in here.hosts:
            host.agree([0, 1])
        here.run(0, STEPS)
        check(here, settings)
        assert written.is_set()
    finally:
        go.set()
        written.set()
        here.close()


def test_sums_from_overwritten_weights_are_not_compared():
    duplicates, kept, late = Duplicates(), np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
    first, second = Compute(0, 5, Span(0, 1), 0, 9), Compare(Compute(1, 5, Span(0, 1), 1, 9), 0)
    duplicates.keep(first, kept)
    duplicates.compare(second, late, oldest=10)
    duplicates.compare(second, late, oldest=9)  # it has been compared
    duplicates.keep(first, kept)
    with pytest.raises(CorruptError, match="shards 0 to 0 of step 5"):
        duplicates.compare(second, late, oldest=9)
