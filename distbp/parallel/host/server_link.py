"""The driver's end of the connection to a host's server."""

from __future__ import annotations

import select
from pathlib import Path

from distbp.parallel.host.channel import DRIVER, Channel, connect
from distbp.parallel.host.messages import RUN, ServerMessage, receive_message


class ServerLink:
    """Sends the server how far to go, and receives its messages."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._poll = select.poll()  # unlike select, for any number of open files
        self._poll.register(channel, select.POLLIN)

    @classmethod
    def to(cls, folder: Path, patience: float) -> ServerLink | None:
        """Connect to the server that listens in ``folder``; return None if none does in time."""
        channel = connect(folder, DRIVER, patience)
        return None if channel is None else cls(channel)

    def run(self, first: int, stop: int, factor: float) -> None:
        """Start the steps from ``first`` to before ``stop``, with the step size times ``factor``."""
        self._channel.send(RUN.pack(first, stop, factor))

    def next_message(self, seconds: float) -> ServerMessage | None:
        """Wait for input; return the next message, None if no whole message has arrived.

        Raises:
            EOFError: the server has closed the channel.
            TrainingError: the message cannot be read.
        """
        return receive_message(self._channel) if self._poll.poll(1000 * seconds) else None

    def closes_within(self, seconds: float) -> bool:
        """Discard messages until the server's end closes; return False if it does not close in time."""
        return self._channel.closes_within(seconds)

    def close(self) -> None:
        """Close the channel, which ends the server."""
        self._channel.close()
