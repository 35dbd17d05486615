"""Hosts that do not reach each other: which ones continue, and on which ports hosts listen."""

import random
import socket

import pytest

from distbp.errors import ClusterError
from distbp.parallel.mesh import sockets
from distbp.parallel.mesh.reachability import first_unreachable, hosts_to_leave_out
from distbp.parallel.mesh.sockets import listen


def missing(hosts, *pairs):
    """Return each host's report of the hosts that it does not reach; both hosts of a pair report each other."""
    told = [{} for _ in range(hosts)]
    for one, other in pairs:
        told[one][other] = told[other][one] = "timed out"
    return told


@pytest.mark.parametrize(
    ("told", "settled", "out"),
    [
        (missing(1), 0, []),
        (missing(3), 2, []),
        (missing(2, (0, 1)), 0, [1]),
        (missing(2, (0, 1)), 1, [1]),
        (missing(2, (0, 1)), 2, [1]),
        ([{}, {0: "timed out"}], 1, [1]),
        ([{1: "did not come"}, {}], 1, [1]),
        (missing(3, (0, 1), (0, 2)), 0, [0]),
        (missing(3, (0, 1), (0, 2)), 1, [1, 2]),
        (missing(3, (0, 1), (0, 2)), 2, [0]),
        (missing(3, (0, 1), (1, 2)), 0, [1]),
        (missing(4, (0, 2), (2, 3)), 2, [2]),
        (missing(4, (2, 3)), 2, [3]),
        ([{1: "did not come"}, None, {1: "timed out"}], 0, [1]),
        ([None, None], 0, [0, 1]),
    ],
    ids=str,
)
def test_hosts_that_are_left_out(told, settled, out):
    assert hosts_to_leave_out(told, settled) == out


def test_the_remaining_hosts_reach_each_other_and_one_of_them_has_the_state():
    chance = random.Random(3)
    for _ in range(2000):
        hosts = chance.randint(1, 6)
        settled = chance.randint(0, hosts)
        pairs = [(a, b) for a in range(hosts) for b in range(a) if chance.random() < 0.3]
        out = hosts_to_leave_out(missing(hosts, *pairs), settled)
        kept = [host for host in range(hosts) if host not in out]
        assert not [pair for pair in pairs if set(pair) <= set(kept)]
        assert kept
        assert bool(out) == bool(pairs)
        assert not settled or min(kept) < settled


def test_the_ports_are_taken_one_after_the_other(monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        first = probe.getsockname()[1]
    ports = range(first, first + 2)
    monkeypatch.setattr(sockets, "_PORT_SECONDS", 0.2)
    with listen("127.0.0.1", ports) as one, listen("127.0.0.1", ports) as other:
        assert [each.getsockname()[1] for each in (one, other)] == list(ports)
        with pytest.raises(ClusterError, match=f"ports {first}-{first + 1} of 127.0.0.1: all in use"):
            listen("127.0.0.1", ports)
        assert first_unreachable([one.getsockname(), other.getsockname()], 5.0) == {}
    assert first_unreachable([("127.0.0.1", first)], 5.0) == {("127.0.0.1", first): "Connection refused"}


def test_a_port_with_connections_in_time_wait_is_used_again():
    with listen("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        connection = socket.create_connection(("127.0.0.1", port))
        listener.accept()[0].close()
        connection.close()
    listen("127.0.0.1", range(port, port + 1)).close()
