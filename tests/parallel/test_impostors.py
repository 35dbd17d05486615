"""Processes without the run's secret at either end of the handshake. This file writes its bytes independently.

The caller sends its hello: magic, view, its number, the number of the host that it calls, 32 random bytes. The
listener answers with HMAC-SHA256 of "there" and the hello, and 32 random bytes; the caller answers with the HMAC of
"here", the hello and those bytes.
"""

import hashlib
import hmac
import os
import socket
import struct
import threading
from contextlib import suppress

import pytest

from distbp.parallel.mesh import handshake
from distbp.parallel.mesh.rendezvous import HostsLostError, connect_all
from distbp.parallel.mesh.view import View

SECRET, OTHER = b"s" * 32, b"x" * 32
VIEW, CALLER, LISTENER = 7, 1, 0
HELLO_SIZE = 4 + 8 + 4 + 4 + 32
LONG, SHORT = 60.0, 0.2
"""Seconds that only a hang reaches, and seconds after which silence times out."""


def hello(view=VIEW, here=CALLER, there=LISTENER, challenge=b"c" * 32, magic=b"dbp2"):
    return struct.pack("<4sQII32s", magic, view, here, there, challenge)


def proof(secret, side, what):
    return hmac.new(secret, side + what, hashlib.sha256).digest()


def received(connection, size):
    got = b""
    while len(got) < size and (part := connection.recv(size - len(got))):
        got += part
    return got


class Listening:
    """A listener that handles each caller with ``answer`` and records all bytes that callers send."""

    def __init__(self, answer):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.heard = []
        self._answer = answer
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self):
        self._thread.start()
        return self

    def _listen(self):
        with suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                with connection, suppress(ConnectionError):
                    connection.settimeout(LONG)
                    got = received(connection, HELLO_SIZE)
                    self.heard.append(got)
                    connection.sendall(self._answer(got))
                    if self._answer is not silence:
                        connection.shutdown(socket.SHUT_WR)
                    while part := connection.recv(4096):
                        self.heard[-1] += part

    def __exit__(self, *given):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def silence(hello):
    return b""


def call(address, patience=LONG, secret=SECRET):
    return handshake.connect(address, secret, VIEW, CALLER, LISTENER, patience)


def without_the_secret(hello):
    return proof(OTHER, b"there", hello) + os.urandom(32)


def random_bytes(hello):
    return os.urandom(64)


def the_callers_own_bytes(hello):
    return hello[-32:] + hello[-32:]


def the_callers_half_of_the_proof(hello):
    """Return the proof of a caller with the secret, which differs from a listener's."""
    return proof(SECRET, b"here", hello) + os.urandom(32)


def a_proof_of_an_earlier_call(hello):
    return proof(SECRET, b"there", EARLIER) + os.urandom(32)


def a_proof_of_another_view(hello):
    return proof(SECRET, b"there", hello[:4] + struct.pack("<Q", VIEW + 1) + hello[12:]) + os.urandom(32)


def a_proof_with_a_wrong_bit(hello):
    right = bytearray(proof(SECRET, b"there", hello))
    right[-1] ^= 1
    return bytes(right) + os.urandom(32)


EARLIER = hello(challenge=b"e" * 32)


@pytest.mark.parametrize(
    "answer",
    [
        without_the_secret,
        random_bytes,
        the_callers_own_bytes,
        the_callers_half_of_the_proof,
        a_proof_of_an_earlier_call,
        a_proof_of_another_view,
        a_proof_with_a_wrong_bit,
    ],
)
def test_the_caller_hangs_up_on_a_listener_without_the_secret_before_it_proves_anything(answer):
    with Listening(answer) as impostor, pytest.raises(ConnectionRefusedError, match="does not know the run's secret"):
        call(impostor.address)
    (heard,) = impostor.heard
    assert heard[:20] == hello()[:20]
    assert len(heard) == HELLO_SIZE  # so it has sent no proof of its own


def test_the_caller_proves_itself_only_to_a_listener_with_the_secret_and_never_the_same_way_twice():
    challenge = b"l" * 32
    with Listening(lambda hello: proof(SECRET, b"there", hello) + challenge + b"\1") as right:
        for _ in range(2):
            call(right.address).close()
    for heard in right.heard:
        assert heard[HELLO_SIZE:] == proof(SECRET, b"here", heard[:HELLO_SIZE] + challenge)
    first, second = right.heard
    assert first[:20] == second[:20]
    assert first[20:] != second[20:]


@pytest.mark.parametrize("length", [0, 1, 31, 32, 63])
def test_the_caller_hangs_up_on_an_answer_that_ends_too_soon(length):
    def cut_off(hello):
        return (proof(SECRET, b"there", hello) + bytes(32))[:length]

    with Listening(cut_off) as impostor, pytest.raises(ConnectionResetError):
        call(impostor.address)
    assert [len(heard) for heard in impostor.heard] == [HELLO_SIZE]


def test_the_caller_is_not_connected_before_its_own_proof_is_accepted():
    with (
        Listening(lambda hello: proof(SECRET, b"there", hello) + bytes(32)) as impostor,
        pytest.raises(ConnectionResetError),
    ):
        call(impostor.address)


def test_the_caller_waits_for_a_silent_listener_no_longer_than_it_may():
    with Listening(silence) as impostor, pytest.raises(TimeoutError):
        call(impostor.address, SHORT)


def test_a_host_with_an_impostor_at_its_address_is_named_and_the_impostor_learns_nothing(monkeypatch):
    monkeypatch.setattr("distbp.parallel.mesh.rendezvous._MOST_PATIENCE", LONG)
    with Listening(without_the_secret) as impostor, socket.create_server(("127.0.0.1", 0)) as own:
        view = View(VIEW, (impostor.address, own.getsockname()), (1, 1), 0, 2, "exact", 30.0)
        with pytest.raises(HostsLostError) as told:
            connect_all(view, CALLER, own, SECRET, LONG, lambda: True)
    assert told.value.reasons == {LISTENER: "cannot be reached: it does not know the run's secret"}
    assert [len(heard) for heard in impostor.heard] == [HELLO_SIZE]


class Calling:
    """A call that starts with the bytes ``first``, to a listener with the secret on another thread.

    ``outcome`` is the caller's number, or why the listener has refused it.
    """

    def __init__(self, first, patience=LONG):
        self.end, self._other = socket.socketpair()
        self.end.settimeout(LONG)
        self.end.sendall(first)
        self._patience = patience
        self._thread = threading.Thread(target=self._take)

    def __enter__(self):
        self._thread.start()
        return self

    def _take(self):
        with self._other:
            try:
                self.outcome = handshake.accept(self._other, SECRET, VIEW, LISTENER, self._patience)
            except OSError as error:
                self.outcome = error

    def __exit__(self, *given):
        self._thread.join()
        self.end.close()

    def rest(self):
        """Return all bytes until the listener closes the connection."""
        return received(self.end, 1 << 16)


def test_a_caller_with_the_secret_is_accepted_and_the_listener_proves_itself_first():
    with Calling(hello()) as listener:
        answer = received(listener.end, 64)
        assert answer[:32] == proof(SECRET, b"there", hello())
        listener.end.sendall(proof(SECRET, b"here", hello() + answer[32:]))
        assert listener.rest() == b"\1"
    assert listener.outcome == CALLER


def wrong_secret(answer):
    return proof(OTHER, b"here", hello() + answer[32:])


def the_listeners_own_proof(answer):
    return answer[:32]


def the_listeners_challenge(answer):
    return answer[32:]


def a_proof_without_the_challenge(answer):
    return proof(SECRET, b"here", hello())


def a_proof_for_an_earlier_challenge(answer):
    return proof(SECRET, b"here", hello() + bytes(32))


def the_other_halfs_label(answer):
    return proof(SECRET, b"there", hello() + answer[32:])


@pytest.mark.parametrize(
    "forge",
    [
        wrong_secret,
        the_listeners_own_proof,
        the_listeners_challenge,
        a_proof_without_the_challenge,
        a_proof_for_an_earlier_challenge,
        the_other_halfs_label,
    ],
)
def test_the_listener_refuses_a_caller_without_the_secret_and_sends_nothing_more(forge):
    with Calling(hello()) as listener:
        listener.end.sendall(forge(received(listener.end, 64)))
        assert listener.rest() == b""
    assert isinstance(listener.outcome, ConnectionRefusedError)
    assert str(listener.outcome) == "it does not know the run's secret"


@pytest.mark.parametrize(
    "wrong",
    [
        {"view": VIEW + 1},
        {"view": VIEW - 1},
        {"magic": b"dbp1"},
        {"there": CALLER},
        {"here": LISTENER, "there": CALLER},
    ],
)
def test_the_listener_sends_nothing_to_a_caller_for_another_run_or_host(wrong):
    """This includes a hello that an impostor sends back to its sender, since it names the other host."""
    with Calling(hello(**wrong)) as listener:
        assert listener.rest() == b""
    assert str(listener.outcome) == "it calls another run, view or host"


def test_a_replayed_call_is_refused():
    with Calling(hello()) as listener:
        before = received(listener.end, 64)
        recorded = proof(SECRET, b"here", hello() + before[32:])
        listener.end.sendall(recorded)
        listener.rest()
    assert listener.outcome == CALLER
    with Calling(hello() + recorded) as listener:
        again = received(listener.end, 64)
        assert again[:32] == before[:32]
        assert again[32:] != before[32:]
        assert listener.rest() == b""
    assert isinstance(listener.outcome, ConnectionRefusedError)


@pytest.mark.parametrize("length", [0, 1, HELLO_SIZE - 1, HELLO_SIZE, HELLO_SIZE + 31])
def test_the_listener_hangs_up_on_a_call_that_ends_too_soon_or_falls_silent(length):
    for is_closed in (True, False):
        with Calling((hello() + bytes(32))[:length], LONG if is_closed else SHORT) as listener:
            if is_closed:
                listener.end.shutdown(socket.SHUT_WR)
        assert isinstance(listener.outcome, ConnectionResetError if is_closed else TimeoutError)
