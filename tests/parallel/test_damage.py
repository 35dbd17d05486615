"""Bits that flip between hosts or in their memory: the run still has the bits of one process, or ends."""

import random
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from parallel.clusters import Cluster, alone, view_of
from parallel.hosts import config
from processes import wait_until

from distbp.actors.integrity import Integrity
from distbp.errors import CorruptError, PeerLostError
from distbp.parallel.host.messages import RunEnded, ViewEnded
from distbp.parallel.mesh import frames, handshake, sockets
from distbp.parallel.mesh.agreement import describe, difference

STEPS = 40


class Relay:
    """Forwards the traffic of a host in both directions, and flips bits in some frames."""

    def __init__(self, to, flip):
        self.address = ("127.0.0.1", 0)
        self._to, self._flip = to, flip
        self._listener = socket.create_server(self.address)
        self.address = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                one = self._listener.accept()[0]
                other = socket.create_connection(self._to)
                for each in (one, other):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                hello = handshake._HELLO.size
                for source, sink, sizes in ((one, other, (hello, 32)), (other, one, (64, 1))):
                    threading.Thread(target=self._pump, args=(source, sink, sizes), daemon=True).start()

    def _pump(self, source, sink, handshake):
        with suppress(OSError), source, sink:
            for size in handshake:
                sink.sendall(exactly(source, size))
            while True:
                header = exactly(source, frames.HEADER_SIZE)
                whole = header + exactly(source, frames.Frame.read(memoryview(header)).size)
                self._flip(whole)
                sink.sendall(whole)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def exactly(source, size):
    whole = bytearray(size)
    sockets.receive_into(source, memoryview(whole))
    return whole


class Flips:
    """Flips one bit in each of several frames, at random distances."""

    def __init__(self, seed, count, first=0):
        """Flip no bits before byte number ``first`` of a frame."""
        self._random, self._left, self._lock = random.Random(seed), count, threading.Lock()
        self._first, self.count = first, 0

    def __call__(self, whole):
        with self._lock:
            if self.count < self._left and len(whole) > self._first and self._random.random() < 0.1:
                self.count += 1
                whole[self._random.randrange(self._first, len(whole))] ^= 1 << self._random.randrange(8)


def ended(here):
    """Wait until all hosts' runs have ended, as the driver does: if a view has ended, all hosts leave it."""
    done = {}

    def are_done():
        for number, host in enumerate(here.hosts):
            for message in host.messages(0)[0] if number not in done else ():
                if isinstance(message, RunEnded):
                    done[number] = message
                    for other in here.hosts if isinstance(message, ViewEnded) else ():
                        other.leave()
        return len(done) == len(here.hosts)

    wait_until(are_done)
    return [done[number] for number in sorted(done)]


@pytest.mark.parametrize(
    ("workers", "wire", "count"),
    [((1, 1), "exact", 100), ((1, 1, 1), "exact", 100), ((1, 1, 1), "float16", 30)],
    ids=str,
)
def test_flipped_bits_in_a_hundred_frames_change_nothing(workers, wire, count, monkeypatch):
    monkeypatch.setattr("distbp.parallel.mesh.chunks.CHUNK", 7)
    monkeypatch.setattr("distbp.parallel.host.host._MESSAGE_SECONDS", 0.002)
    settings = config(4)
    flips, here = Flips(7, count), Cluster(workers, settings)
    relays = [Relay(host.address, flips) for host in here.hosts]
    integrity = Integrity(lambda text: None)
    step = number = 0
    try:
        while step < STEPS or flips.count < count:
            number += 1
            view = view_of(here.hosts, workers, settings, number=number, wire=wire)
            view = view._replace(addresses=tuple(relay.address for relay in relays))
            assert not any(here.join_view(view, step).values())
            here.run(step, step + STEPS)
            done = ended(here)
            step = min(ended.steps for ended in done)
            members = [SimpleNamespace(name=str(host), ended=ended) for host, ended in enumerate(done)]
            integrity.begin(members)
            integrity.check(members, step)
        states = [host.state(step) for host in here.hosts]
        for state in states:
            assert np.array_equal(state, states[0])
            assert wire == "float16" or np.array_equal(state, alone(settings, step)[1])
        assert flips.count == count
    finally:
        for relay in relays:
            relay.close()
        here.close()


@pytest.mark.parametrize("wire", ["exact", "float16"])
def test_a_damaged_body_is_sent_again_and_nothing_else(wire, monkeypatch):
    monkeypatch.setattr("distbp.parallel.mesh.chunks.CHUNK", 7)
    settings, states = config(4), {}
    for count in (0, 50):
        flips, here = Flips(3, count, frames.HEADER_SIZE), Cluster((1, 1, 1), settings)
        relays = [Relay(host.address, flips) for host in here.hosts]
        try:
            view = view_of(here.hosts, (1, 1, 1), settings, wire=wire)
            assert not any(here.join_view(view._replace(addresses=tuple(relay.address for relay in relays))).values())
            here.run(0, STEPS)
            done = [here.wait(host)[0] for host in here.hosts]
            assert [ended.steps for ended in done] == [STEPS] * 3
            assert not any(isinstance(ended, ViewEnded) for ended in done)
            assert sum(number for ended in done for _, number in ended.resent) == flips.count == count
            states[count] = [host.state(STEPS).tobytes() for host in here.hosts]
        finally:
            for relay in relays:
                relay.close()
            here.close()
    assert len({*states[0], *states[50]}) == 1


@pytest.mark.parametrize("size", [0, 1, 33, 5000, 1 << 15, (1 << 17) + 13, 3 << 18])
def test_a_checksum_detects_every_flipped_bit_and_displaced_bytes(size, rng):
    body = bytearray(rng.bytes(size))
    right = frames.checksum(memoryview(body))
    for _ in range(200 if size else 0):
        at, bit = rng.integers(size), 1 << rng.integers(8)
        body[at] ^= bit
        assert frames.checksum(memoryview(body)) != right
        body[at] ^= bit
    for length in (4, 512, 1448, 2048):
        if size > 10 * length:
            one, other = (slice(at, at + length) for at in sorted(4 * rng.choice(size // 4 - length, 2, replace=False)))
            moved = bytearray(body)
            moved[one], moved[other] = body[other], body[one]
            assert moved == body or frames.checksum(memoryview(moved)) != right
            moved = bytearray(body)
            moved[one] = bytes(length)
            assert frames.checksum(memoryview(moved)) != right
    assert frames.checksum(memoryview(body)) == right


def test_a_damaged_header_is_never_read():
    whole = bytearray(frames.Frame.of(frames.PART, 5, 3, 1, 0.5, memoryview(b"1234")).header())
    assert frames.Frame.read(memoryview(whole)).step == 5
    for bit in range(8 * len(whole)):
        whole[bit // 8] ^= 1 << bit % 8
        with pytest.raises(frames.ChecksumError):
            frames.Frame.read(memoryview(whole))
        whole[bit // 8] ^= 1 << bit % 8


def corrupt(host, step, layer=1):
    """Flip a bit of the first weight of a layer."""
    weights = host.memory.states[step % 2][0].view(np.uint32)
    weights[0 if layer == 1 else -1] ^= 1 << 12


def test_weights_that_differ_end_the_step_on_all_hosts_and_name_the_one():
    settings = config(4)
    here = Cluster((1, 1, 1), settings)
    try:
        here.join_view(view_of(here.hosts, (1, 1, 1), settings))
        here.run(0, 5)
        for host in here.hosts:
            here.wait(host)
        corrupt(here.hosts[1], 5)
        here.run(5, 9)
        for host in here.hosts:
            ended = here.wait(host)[0]
            assert ended.steps == 5
            assert ended.difference == (5, 1, (1,), 3)
    finally:
        here.close()


def test_the_last_step_before_a_pause_is_compared_by_the_driver():
    settings = config(4)
    here = Cluster((1, 1), settings)
    integrity = Integrity(lambda text: None)
    try:
        here.join_view(view_of(here.hosts, (1, 1), settings))
        here.run(0, 5)
        done = [here.wait(host)[0] for host in here.hosts]
        members = [SimpleNamespace(name=f"host h{host}", ended=ended) for host, ended in enumerate(done)]
        integrity.begin(members)
        integrity.check(members, 5)
        layers = done[1].layers
        members[1].ended = replace(done[1], layers=(layers[0], layers[1] ^ 1))
        with pytest.raises(
            CorruptError, match="host h0 and host h1 have different weights after step 4, first in layer 2"
        ):
            integrity.check(members, 5)
        members[1].ended = done[1]
        with pytest.raises(CorruptError):  # no state may be read any more
            integrity.confirm()
    finally:
        here.close()


def test_the_majority_decides_which_host_is_wrong():
    names = ["host a", "host b", "host c", "host d"]
    found = difference(8, {0: (1, 2), 1: (1, 2), 2: (1, 3), 3: (1, 2)})
    assert describe(found, names).startswith(
        "host c has other weights than the other 3 hosts after step 7, first in layer 2"
    )
    assert difference(8, {0: (1, 2), 1: (1, 2), 2: (1, 3), 3: (1, 4)}).hosts == (0, 1, 2, 3)
    assert difference(8, {0: (1, 2)}) is None


def test_damage_is_noted_and_a_useless_link_ends_the_run():
    notes = []
    integrity = Integrity(notes.append)
    integrity.begin([SimpleNamespace(name="host a"), SimpleNamespace(name="host b")])
    for step in (3, 4):
        for _ in range(8):
            integrity.note_damage(ViewEnded(steps=step, reasons=((1, "sent rubbish"),), damaged=(1,)))
    integrity.note_damage(ViewEnded(steps=4, reasons=((0, "is gone"),), damaged=()))
    assert len(notes) == 16
    integrity.note_damage(RunEnded(steps=4, resent=((0, 7),)))
    assert notes.pop() == "7 messages of host a were damaged in transit and sent again"
    assert notes == ["host b sent rubbish: step 3 is repeated"] * 8 + ["host b sent rubbish: step 4 is repeated"] * 8
    with pytest.raises(
        PeerLostError, match="after 8 repetitions of step 4 for the same reason: look at its network card"
    ):
        integrity.note_damage(ViewEnded(steps=4, reasons=((1, "sent rubbish"),), damaged=(1,)))
