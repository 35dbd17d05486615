"""The addresses from which a host accepts connections at a rendezvous: those of all later hosts, and no others."""

import sys
import threading
import time
from collections.abc import Iterator

import pytest
from processes import HANG_SECONDS

from distbp.parallel.mesh import handshake, sockets
from distbp.parallel.mesh.incoming import IncomingConnections
from distbp.parallel.mesh.view import View

SECRET = b"s" * 32
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all addresses of 127.0.0.0/8")


@pytest.fixture
def view() -> View:
    return View(1, tuple((address, 1) for address in ADDRESSES), (1, 1, 1), 3, 3, "float32", 60.0)


def called(view: View, here: int, caller: int) -> Iterator[int]:
    """Let a host of the view call another from its own address; yield the numbers of the accepted hosts."""
    listener = sockets.listen("127.0.0.1")
    callers = IncomingConnections(listener, SECRET, view, here, HANG_SECONDS)
    refused = threading.Event()

    def call() -> None:
        try:
            address = listener.getsockname()
            handshake.connect(address, SECRET, view.number, caller, here, HANG_SECONDS, ADDRESSES[caller]).close()
        except OSError:
            refused.set()

    thread = threading.Thread(target=call)
    thread.start()
    deadline = time.monotonic() + HANG_SECONDS
    found: list[int] = []
    while not found and not refused.is_set():
        assert time.monotonic() < deadline, "the call was neither taken nor refused"
        for number, connection in callers.poll():
            found.append(number)
            connection.close()
    thread.join()
    callers.close()
    listener.close()
    yield from found


@pytest.mark.parametrize(("here", "caller"), [(0, 1), (0, 2), (1, 2)])
def test_calls_from_every_later_host_are_accepted(view: View, here: int, caller: int) -> None:
    assert list(called(view, here, caller)) == [caller]


@pytest.mark.parametrize(("here", "caller"), [(1, 0), (1, 1), (2, 1)])
def test_calls_from_an_earlier_host_are_refused_even_with_the_secret(view: View, here: int, caller: int) -> None:
    assert list(called(view, here, caller)) == []
