"""What counts as an answer of Ray's head: words, or hanging up on words that it does not know; not silence."""

import socket
import threading

from distbp.actors.connection.ray_launcher import Ping


def asked_for(seconds: float, listener: socket.socket) -> float:
    """How long a server was silent that was asked for so many seconds of a clock that the test turns."""
    ping, now = Ping(*listener.getsockname()), 0.0
    while now < seconds:
        ping.look(now, 0.1)
        now += 0.1
        threading.Event().wait(0.002)  # for the other end, not for the time
    if ping._socket is not None:
        ping._socket.close()
    return ping.silent


def test_a_server_that_hangs_up_has_answered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                connection.recv(1)
                connection.close()  # with words unread: a reset, as from a server under TLS

        threading.Thread(target=hang_up, daemon=True).start()
        assert asked_for(30.0, listener) < 5.0


def test_a_server_that_says_nothing_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert asked_for(30.0, listener) > 25.0
