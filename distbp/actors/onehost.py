"""Steps of actors that share a host: arrays in shared memory, and the driver only looks on."""

from __future__ import annotations

import select
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from distbp.actors.crew import Crew
from distbp.data.dataset import Array
from distbp.errors import PeerLostError
from distbp.parallel.exchange import Exchange, Shape
from distbp.parallel.folders import memory_folder, private_folder
from distbp.parallel.messages import DONE, DRIVER, RUN, Channel, connect, unpack_done
from distbp.parallel.records import StepRecord

_LOOK_MILLISECONDS = 50
"""How often the driver reads the records of the steps."""


class SharedPath:
    """Tells the server how far to go and reads its records; the steps need no driver."""

    def __init__(
        self, crew: Crew, exchange: Exchange, channel: Channel, serving: Any, working: list[Any], step: int
    ) -> None:
        self._crew = crew
        self._exchange = exchange
        self._channel = channel
        self._serving = serving
        self._working = working
        self._poll = select.poll()  # unlike select, for any number of open files
        self._poll.register(channel, select.POLLIN)
        self.step = step

    def steps(self, stop: int) -> Generator[StepRecord, None, None]:
        """Do the steps up to before ``stop``; yield each one's record some time after its update was applied."""
        self._exchange.stop_asked[0] = 0
        self._channel.send(RUN.pack(self.step, stop))
        done = False
        try:
            while not done:
                done = self._wait()
                yield from self._exchange.read_records()
            diverged = self._finish()
        except GeneratorExit:
            self._exchange.stop_asked[0] = 1
            while not done:
                done = self._wait()
            list(self._exchange.read_records())
            self._finish()
            raise
        except PeerLostError:
            # A server that is only silent must not go on writing while its last whole state is read.
            ray.kill(self._crew.server)
            self.step = self._exchange.step
            raise
        if diverged is not None:
            diverged.check()

    def _wait(self) -> bool:
        """Wait a moment; return whether the server has answered or is gone.

        Raises:
            PeerLostError: the server shows no life.
        """
        if self._poll.poll(_LOOK_MILLISECONDS):
            return True
        timeout = self._crew.config.timeout
        if self._exchange.silence(self._exchange.shape.workers) > timeout:
            host = self._crew.pulses[0].host
            raise PeerLostError(
                f"no answer from the parameter server on host {host} for {timeout:g} s {self._when()} (--timeout)"
            )
        return False

    def _finish(self) -> StepRecord | None:
        """Read the server's answer: the steps done, and the record of one that diverged."""
        message = self._channel.receive(DONE.size)
        if message is None:
            # A worker that ended by an error of its own says more than the server, which only misses it.
            ended, _ = ray.wait(self._working, num_returns=len(self._working), timeout=1)
            for worker in ended:
                with suppress(RayActorError):
                    ray.get(worker)
            self._crew.get([self._serving], self._when())
            raise PeerLostError(f"the parameter server ended {self._when()}")
        self.step, diverged = unpack_done(message)
        return diverged

    def _when(self) -> str:
        return f"in step {self._exchange.step}"

    def restart(self, state: Array) -> None:
        """Go back to before step 0, with this state."""
        self._exchange.states[0] = state
        self.step = 0

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters)."""
        state: Array = self._exchange.states[self.step % 2].copy()
        return state


@contextmanager
def shared_path(crew: Crew, state: Array, rows: int, sums: int, step: int) -> Iterator[SharedPath]:
    """Make the shared memory, let the actors into it, and take it away at the end."""
    shape = Shape(state.shape[0], state.shape[1], state.dtype.name, len(crew.workers), sums)
    with private_folder(memory_folder()) as folder:
        exchange = Exchange(folder, shape, create=True)
        crew.get([crew.server.share.remote(folder, shape)], "while it set up shared memory")
        serving = crew.server.serve.remote(rows)
        working = [worker.work.remote(folder, shape, number) for number, worker in enumerate(crew.workers)]
        with closing(connect(folder, DRIVER)) as channel:
            yield SharedPath(crew, exchange, channel, serving, working, step)
        # With the driver's channel closed the server ends, and with the server the workers; a lost one does not.
        with suppress(RayError):
            ray.wait([serving, *working], num_returns=len(working) + 1, timeout=1)
