"""A frame with impossible contents closes the connection to its sender."""

import threading
import zlib

import pytest
from parallel.clusters import SECRET
from parallel.hosts import config
from processes import HANG_SECONDS, join

from distbp.parallel.mesh import frames, handshake
from distbp.parallel.mesh.view import View


@pytest.mark.parametrize(
    "header",
    [
        (frames.PART, 0, 99, 0, 1.0, 4),
        (frames.PART, 7, 0, 0, 1.0, 4),
        (frames.PART, 0, 0, 99, 1.0, 4),
        (frames.PART, 0, 0, 0, 1.0, 1 << 30),
        (frames.TOTAL, 0, 0, 0, 1.0, 4),
        (frames.REPORT, 0, 0, 0, 1.0, 1 << 30),
        (frames.FACTORS, 0, 0, 0, 1.0, 4),
        (77, 0, 0, 0, 1.0, 4),
    ],
    ids=str,
)
def test_an_invalid_message_ends_the_connection(cluster, header):
    settings = config(2)
    here = cluster((1,), settings)
    port = here.hosts[0].address
    view = View(1, (port, ("127.0.0.1", 1)), (1, 1), 1, 2, "exact", HANG_SECONDS)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(here.hosts[0].join_view(view, 0, 0, SECRET)))
    thread.start()
    liar = handshake.connect(port, SECRET, 1, 1, 0, HANG_SECONDS)
    join(thread)
    here.hosts[0].run(0, 3, 1.0)
    liar.sendall(frames.Frame(*header, zlib.crc32(b"1234")).header() + b"1234")
    ended, _ = here.wait(here.hosts[0])
    ((number, reason),) = ended.reasons
    assert number == 1
    assert "sent" in reason
    liar.close()
