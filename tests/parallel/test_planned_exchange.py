"""The bytes, messages and hops of a plan for several hosts, compared with the frames that hosts send."""

from collections import Counter

import pytest
from parallel.clusters import Cluster, view_of
from parallel.hosts import STRUCTURE, config

from distbp.parallel.mesh.cost import Costs, Machine, estimate_step
from distbp.parallel.mesh.frames import FACTORS, HEARTBEAT, PART, REPORT, TOTAL
from distbp.parallel.mesh.peers import PeerConnection
from distbp.planning.hosts import workload_of

ROWS = 16
NOTHING = Machine(0.0, 0.0, 0.0)
HOP = Costs(0.0, 0.0, 1.0, 0.0)
"""Costs of latency alone: a step takes as many seconds as it has hops."""


class Counted:
    """Counts the frames of one step: bytes by sender and by receiver, messages by host, and kinds."""

    def __init__(self, workers, settings, servers, factored, monkeypatch):
        frames = []
        send = PeerConnection._send_one

        def counted(peer, ends, frame, body):
            frames.append((peer, frame.kind, frame.step, len(body)))
            send(peer, ends, frame, body)

        monkeypatch.setattr(PeerConnection, "_send_one", counted)
        cluster = Cluster(workers, settings)
        try:
            view = view_of(cluster.hosts, workers, settings, servers=servers, wire=settings.wire)
            assert not any(cluster.join_view(view._replace(measures=bool(factored))).values())
            here = {
                id(peer): number
                for number, host in enumerate(cluster.hosts)
                for peer in host._mesh.members.peers.values()
            }
            if factored:
                for host in cluster.hosts:
                    host.rates()
                    host.agree(factored)
            cluster.run(0, 1)
            for host in cluster.hosts:
                assert cluster.wait(host)[0].steps == 1
        finally:
            cluster.close()
        sent, received, self.messages, self.kinds = Counter(), Counter(), Counter(), Counter()
        for peer, kind, step, size in frames:
            if kind == HEARTBEAT or step != 0:
                continue
            self.kinds[kind] += 1
            self.messages.update((here[id(peer)], peer.number))
            if kind in (PART, TOTAL, FACTORS):
                sent[here[id(peer)]] += size
                received[peer.number] += size
        self.link_bytes = max([*sent.values(), *received.values()])


def planned(workers, settings, servers, factored, costs=HOP):
    job = workload_of(settings, STRUCTURE, ROWS, settings.shards)
    return estimate_step(job, NOTHING, float("inf"), len(workers), servers, workers[0], costs, tuple(factored))


@pytest.mark.parametrize("wire", ["exact", "float16"])
@pytest.mark.parametrize("shards", [2, 5])
@pytest.mark.parametrize(
    ("workers", "servers"), [((1, 1), 0), ((2, 2), 0), ((1, 1), 1), ((1, 1), 2), ((1, 1, 1), 3), ((2, 2, 2), 1)]
)
def test_sums_take_the_bytes_messages_and_hops_that_were_planned(workers, servers, shards, wire, monkeypatch):
    settings = config(shards, wire=wire)
    found = Counted(workers, settings, servers or None, (), monkeypatch)
    step = planned(workers, settings, servers, ())
    assert step.link_bytes == found.link_bytes
    assert step.messages == max(found.messages.values())
    hosts = len(workers)
    assert found.kinds[REPORT] == hosts * (hosts - 1)
    hops = len({PART, TOTAL} & found.kinds.keys())  # sums to the server, and totals back if there is one
    assert step.seconds == (2 if servers else 1)
    assert step.seconds == hops or shards <= workers[0]  # if the server's own workers do everything


@pytest.mark.parametrize(("shards", "factored"), [(4, [0]), (8, [0]), (8, [1]), (8, [0, 1])], ids=str)
@pytest.mark.parametrize(("workers", "servers"), [((1, 1), 0), ((2, 2), 0), ((1, 1, 1, 1), 4)])
def test_factors_take_the_bytes_and_messages_that_were_planned(workers, servers, shards, factored, monkeypatch):
    """With shards of equal size, since a plan counts the largest."""
    monkeypatch.setattr("distbp.parallel.mesh.factors._MEASURED_SECONDS", 0.001)
    settings = config(shards)
    found = Counted(workers, settings, servers or None, factored, monkeypatch)
    step = planned(workers, settings, servers, factored)
    assert step.link_bytes == found.link_bytes
    assert step.messages == max(found.messages.values())
