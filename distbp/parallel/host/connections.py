"""The server's connections on one host: to the driver, and to the workers by their numbers."""

from __future__ import annotations

import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distbp.parallel.host.messages import DRIVER, GO, NO_ROUND, Channel, accepted, listen, send_news

NEWCOMER = -1
"""The number under which :meth:`Connections.wait` tells that somebody connects."""


class Connections:
    """The channels of whoever is there. Leaving the ``with`` block tells the workers that all is done."""

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
                channel.send(GO.pack(0, NO_ROUND, 0, 0, 0, 0))
            channel.close()
        self._listener.close()

    @property
    def workers(self) -> list[int]:
        """The numbers of the workers that are there."""
        return [number for number in self._channels if number != DRIVER]

    @property
    def has_driver(self) -> bool:
        """Whether the driver has come."""
        return DRIVER in self._channels

    def __contains__(self, number: int) -> bool:
        return number in self._channels

    def __getitem__(self, number: int) -> Channel:
        return self._channels[number]

    def look(self) -> bool:
        """Return at once whether there is something to hear."""
        return bool(self._poll.poll(0))

    def wait(self, seconds: float) -> Iterator[int]:
        """Wait for so long at most; yield the numbers of all who have something to say, or have gone."""
        for descriptor, _ in self._poll.poll(1000 * seconds):
            if descriptor in self._numbers:  # else it was closed meanwhile
                yield self._numbers[descriptor]

    def accept(self) -> tuple[int, Channel] | None:
        """Return the number of who has connected, and the channel; None if it did not say who it is."""
        return accepted(self._listener)

    def add(self, number: int, channel: Channel) -> None:
        """Listen also to this one."""
        self._channels[number] = channel
        self._numbers[channel.fileno()] = number
        self._poll.register(channel, select.POLLIN)

    def drop(self, number: int) -> None:
        """Close the channel to one who has gone."""
        channel = self._channels.pop(number)
        del self._numbers[channel.fileno()]
        self._poll.unregister(channel)
        channel.close()

    def tell_driver(self, **news: Any) -> None:
        """Tell the driver something, if it is there."""
        if self.has_driver:
            send_news(self._channels[DRIVER], news)
