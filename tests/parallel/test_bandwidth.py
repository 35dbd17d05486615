"""The measured bandwidth of links, also when a host is lost or requests too many bytes."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest
from processes import HANG_SECONDS, join

from distbp.parallel.mesh.bandwidth import measure_bandwidth
from distbp.parallel.mesh.peers import PeerConnection
from distbp.parallel.mesh.rendezvous import HostsLostError
from distbp.parallel.mesh.view import View


def connected():
    """Return both ends of a connection over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return socket.create_connection(listener.getsockname()), listener.accept()[0]


def ring(hosts, timeout=HANG_SECONDS):
    """Return a view and each host's peers, with every host connected to every other."""
    peers = [{} for _ in range(hosts)]
    for here in range(hosts):
        for there in range(here):
            one, other = connected()
            peers[here][there], peers[there][here] = (
                PeerConnection(one, there, timeout),
                PeerConnection(other, here, timeout),
            )
    return View(1, (("", 0),) * hosts, (1,) * hosts, 0, hosts, "exact", timeout), peers


def close(peers):
    for each in peers:
        for peer in each.values():
            peer.close()


@pytest.mark.parametrize("hosts", [2, 3, 5])
def test_all_hosts_measure_at_once(hosts):
    view, peers = ring(hosts)
    with ThreadPoolExecutor(hosts) as pool:
        rates = list(pool.map(lambda here: measure_bandwidth(peers[here], view, here), range(hosts)))
    assert min(rates) > 0
    for peer in (peer for each in peers for peer in each.values()):
        peer.connection.setblocking(False)
        with pytest.raises(BlockingIOError):  # no bytes remain that would be read as a frame
            peer.connection.recv(1)
    close(peers)


@pytest.mark.parametrize(
    ("rounds", "rate"),
    [
        ([1e-6, *[0.5] * 7, 0.25], 4 << 20),  # the fastest large round: the small one fits into buffers on the way
        ([0.1, *[0.5] * 8], 2 << 20),
        ([0.125], 1 << 20),  # slow enough for the small round alone
    ],
)
def test_the_rate_is_that_of_the_fastest_large_round(rounds, rate, monkeypatch):
    """Each host has its own clock, which is read when a round begins and when its bytes have arrived."""
    clocks = threading.local()

    def clock():
        if not hasattr(clocks, "times"):
            ends = [sum(rounds[:count]) for count in range(1, len(rounds) + 1)]
            clocks.times = iter([0.0, *(end for end in ends for _ in range(2))])
        return next(clocks.times)

    monkeypatch.setattr("distbp.parallel.mesh.bandwidth.time", SimpleNamespace(perf_counter=clock, sleep=time.sleep))
    view, peers = ring(2)
    with ThreadPoolExecutor(2) as pool:
        rates = list(pool.map(lambda here: measure_bandwidth(peers[here], view, here), range(2)))
    assert rates == pytest.approx([rate] * 2)
    close(peers)


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_lost_host_is_named(gone):
    view, peers = ring(3)
    for peer in peers[gone].values():
        peer.close()

    def blamed(here):
        with pytest.raises(HostsLostError) as told:
            measure_bandwidth(peers[here], view, here)
        return list(told.value.reasons)

    living = [here for here in range(3) if here != gone]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(blamed, living)) == [[gone], [gone]]
    close(peers)


def test_a_host_that_requests_too_much_gets_the_largest_valid_request():
    view, peers = ring(2, timeout=2.0)
    got = []

    def ask_for_everything():
        liar = peers[1][0].connection
        liar.sendall(b"\xff\xff\xff\xff")
        with suppress(OSError):
            while chunk := liar.recv(1 << 16):
                got.append(len(chunk))

    thread = threading.Thread(target=ask_for_everything)
    thread.start()
    with pytest.raises(HostsLostError):  # after the timeout, since this host sends nothing
        measure_bandwidth(peers[0], view, 0)
    peers[0][1].close()
    join(thread)
    assert 1 << 20 <= sum(got) < 1 << 21  # the requested bytes
    close(peers)
