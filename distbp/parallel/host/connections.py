"""The server's connections on one host: to the driver, and to the workers by their numbers."""

from __future__ import annotations

import select
from collections.abc import Iterator
from pathlib import Path

from distbp.parallel.host.channel import DRIVER, Channel, accept, listen
from distbp.parallel.host.messages import FINISHED, ServerMessage, send_message

NEWCOMER = -1
"""Yielded by :meth:`Connections.wait` for a new connection, which has no number yet."""


class Connections:
    """The open channels. Leaving the ``with`` block orders the workers to end and closes all channels."""

    def __init__(self, folder: Path) -> None:
        """Listen below ``folder``."""
        self._listener = listen(folder)
        self._numbers = {self._listener.fileno(): NEWCOMER}
        self._channels: dict[int, Channel] = {}
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_: object) -> None:
        for number, channel in self._channels.items():
            if number != DRIVER:
                channel.send(FINISHED)
            channel.close()
        self._listener.close()

    @property
    def workers(self) -> list[int]:
        """The numbers of the connected workers."""
        return [number for number in self._channels if number != DRIVER]

    @property
    def has_driver(self) -> bool:
        """Whether the driver is connected."""
        return DRIVER in self._channels

    def __contains__(self, number: int) -> bool:
        return number in self._channels

    def __getitem__(self, number: int) -> Channel:
        return self._channels[number]

    def has_input(self) -> bool:
        """Return at once whether there is something to read on any channel."""
        return bool(self._poll.poll(0))

    def wait(self, seconds: float) -> Iterator[int]:
        """Wait for input; yield the numbers of the channels that have input or whose other end is closed."""
        for descriptor, _ in self._poll.poll(1000 * seconds):
            if descriptor in self._numbers:  # else it was closed since
                yield self._numbers[descriptor]

    def accept(self) -> tuple[int, Channel] | None:
        """Accept a connection; return its number and channel, None if no number arrives in time."""
        return accept(self._listener)

    def add(self, number: int, channel: Channel) -> None:
        """Add an accepted channel."""
        self._channels[number] = channel
        self._numbers[channel.fileno()] = number
        self._poll.register(channel, select.POLLIN)

    def drop(self, number: int) -> None:
        """Close the channel of a process that has closed its end."""
        channel = self._channels.pop(number)
        del self._numbers[channel.fileno()]
        self._poll.unregister(channel)
        channel.close()

    def send_to_driver(self, message: ServerMessage) -> None:
        """Send the driver a message, if it is connected."""
        if self.has_driver:
            send_message(self._channels[DRIVER], message)
