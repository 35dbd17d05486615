"""What counts as the answer to a ping: data or a closed connection, but not silence."""

import socket
import threading

from distbp.actors.connection.ray_launcher import Ping


def silence_after(seconds: float, listener: socket.socket) -> float:
    """Ping a server for this many seconds of a simulated clock; return how long it was silent."""
    ping, now = Ping(*listener.getsockname()), 0.0
    while now < seconds:
        ping.poll(now, 0.1)
        now += 0.1
        threading.Event().wait(0.002)  # gives the other end time to act
    if ping._socket is not None:
        ping._socket.close()
    return ping.silent


def test_a_server_that_closes_the_connection_has_answered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                connection.recv(1)
                connection.close()  # with unread data, which resets the connection, as a TLS server does

        threading.Thread(target=hang_up, daemon=True).start()
        assert silence_after(30.0, listener) < 5.0


def test_a_server_that_sends_nothing_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert silence_after(30.0, listener) > 25.0
