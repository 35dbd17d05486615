"""The connection between two hosts."""

import queue
import socket

from processes import HANG_SECONDS

from distbp.parallel.mesh.frames import HEADER_SIZE, PART, REPORT, RESEND, Frame
from distbp.parallel.mesh.peers import PeerConnection
from distbp.parallel.mesh.sockets import receive_into, send_both


class IgnoreAll:
    """Handler that ignores everything."""

    def sent(self, frame):
        pass

    def lost(self, sender, why, is_damage=False):
        pass


def test_a_large_frame_arrives_complete():
    body = bytes(range(256)) * 16_384  # 4 MiB, more than the buffers on the way can hold
    listener = socket.create_server(("127.0.0.1", 0))
    there = socket.create_connection(listener.getsockname(), HANG_SECONDS)
    here = listener.accept()[0]
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    peer = PeerConnection(here, 1, HANG_SECONDS)
    peer.start(IgnoreAll())
    frame = Frame.of(PART, 0, 0, 0, 1.0, memoryview(body))
    peer.send(frame, memoryview(body))
    whole = memoryview(bytearray(HEADER_SIZE + len(body)))
    receive_into(there, whole)
    assert whole == frame.header() + body
    peer.close()
    there.close()
    listener.close()


def test_a_frame_may_take_longer_than_the_timeout_while_something_moves():
    class Slow:
        """Socket that sends a kilobyte per second; as usual, its timeout of three seconds applies to each call."""

        def __init__(self):
            self.got, self.seconds = b"", 0

        def sendmsg(self, parts):
            return self.send(b"".join(parts))

        def send(self, body):
            self.seconds += 1
            self.got += bytes(body[:1000])
            return min(1000, len(body))

        def sendall(self, body):
            self.seconds += min(3, len(body) / 1000)
            if len(body) > 3000:
                raise TimeoutError

    connection, body = Slow(), bytes(range(250)) * 40
    send_both(connection, b"head", memoryview(body))
    assert connection.got == b"head" + body
    assert connection.seconds == 11


def test_a_handlers_error_ends_the_connection_not_just_the_thread():
    why = queue.SimpleQueue()

    class Broken(IgnoreAll):
        def buffer_for(self, sender, frame):
            raise KeyError(frame.chunk)

        def lost(self, sender, why_, is_damage=False):
            why.put((sender, why_, is_damage))

    listener = socket.create_server(("127.0.0.1", 0))
    there = socket.create_connection(listener.getsockname())
    peer = PeerConnection(listener.accept()[0], 1, HANG_SECONDS)
    peer.start(Broken())
    there.sendall(Frame.of(PART, 0, 7, 0, 1.0, memoryview(b"1234")).header())
    assert why.get(timeout=HANG_SECONDS) == (1, "sent a message that this host could not handle: KeyError(7)", False)
    peer.close()
    there.close()
    listener.close()


def test_short_frames_go_first_and_the_rest_in_order():
    listener = socket.create_server(("127.0.0.1", 0))
    there = socket.create_connection(listener.getsockname(), timeout=HANG_SECONDS)
    peer = PeerConnection(listener.accept()[0], 1, HANG_SECONDS)
    body, order = memoryview(b"1234"), [(PART, 0), (PART, 1), (REPORT, 2), (PART, 3), (RESEND, 4), (PART, 5)]
    for kind, chunk in order:
        peer.send(Frame.of(kind, 0, chunk, 0, 1.0, body), body)
    peer.start(IgnoreAll())
    got, whole = [], memoryview(bytearray(HEADER_SIZE + len(body)))
    for _ in order:
        receive_into(there, whole)
        got.append(Frame.read(whole[:HEADER_SIZE]).chunk)
        assert whole[HEADER_SIZE:] == body
    assert got == [2, 4, 0, 1, 3, 5]
    peer.close()
    there.close()
    listener.close()


def test_a_header_is_sent_completely_in_writes_of_any_size():
    class Narrow:
        def __init__(self, most):
            self.most, self.got = most, b""

        def sendmsg(self, parts):
            return self.send(b"".join(parts))

        def send(self, body):
            self.got += bytes(body[: self.most])
            return min(self.most, len(body))

    for most in range(1, 10):
        connection = Narrow(most)
        send_both(connection, b"head", memoryview(b"body"))
        assert connection.got == b"headbody"
