"""Steps of actors that share a host: arrays in shared memory; the driver only looks on, and replaces who is lost."""

from __future__ import annotations

import select
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import RayError

from distbp.actors.connection.calls import ending, in_brackets
from distbp.actors.connection.liveness import HeadWatch
from distbp.actors.connection.session import private_ray
from distbp.actors.slots import Slots
from distbp.actors.standstill import Standstill
from distbp.actors.utilisation import Shares, allotted
from distbp.actors.worker_group import WorkerGroup, longest_start
from distbp.data.dataset import Array
from distbp.errors import ClusterError, CorruptError, PeerLostError, TrainingError
from distbp.parallel.host.messages import DRIVER, RUN, Channel, check_diverged, connect, receive_news
from distbp.parallel.host.shared_memory import Shape, SharedMemory
from distbp.parallel.step.records import StepRecord, TimeSpent, WorkerRecord
from distbp.parallel.step.shards import buffers_for
from distbp.system.folders import memory_folder, private_folder

_LOOK_MILLISECONDS = 50
"""How often the driver reads the records of the steps."""
_CARE_SECONDS = 0.25
"""How often it looks after those who are to come."""
_DEATH_SECONDS = 5.0
"""How long the end of a killed process may take."""
_LONGEST_PAUSE = 4.0
"""Before a server is started after several that ended before they could be reached: what ended them may pass."""


class OneHostExecutor:
    """Tells the server how far to go and reads its records; the steps need no driver."""

    def __init__(self, crew: WorkerGroup, exchange: SharedMemory, rows: int) -> None:
        self._crew, self._exchange, self._rows = crew, exchange, rows
        self._config = crew.config
        self._places = Slots(
            exchange, self._config, crew.start_worker, crew.name, crew.note, longest_start(self._config)
        )
        self._serving: Any = None
        self._channel: Channel
        self._poll: select.poll  # unlike select, for any number of open files
        self._standstill = Standstill()
        self._next_care = 0.0
        self._local = private_ray()
        self._head = HeadWatch(self._config.timeout) if self._local is None else None  # also the caller's own Ray
        self._factor = 1.0
        self.step = exchange.step
        self._servers_lost = 0
        self._corrupt: CorruptError | None = None
        self._shares = Shares()

    def start(self) -> None:
        """Start the server's and the workers' loops, and wait until enough workers are there.

        Raises:
            ClusterError: they do not come within --wait.
        """
        for number, worker in list(self._crew.workers.items()):
            if number in self._crew.pulses:
                self._places.begin(number, worker)
            else:
                ray.kill(self._crew.workers.pop(number))  # it is started again when its turn comes
        self._serve()
        deadline = time.monotonic() + self._config.wait
        while self._places.present < self._config.least_workers:
            self._look()
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{self._places.present} of {self._config.least_workers} workers came within "
                    f"{self._config.wait:g} s (--wait)"
                )

    def steps(self, stop: int, factor: float = 1.0) -> Generator[StepRecord, None, None]:
        """Do the steps up to before ``stop``; yield each one's record some time after its update was applied."""
        self._exchange.stop_asked[0] = 0
        self._factor = factor
        self._channel.send(RUN.pack(self.step, stop, factor))
        done: dict[str, Any] | None = None
        try:
            while done is None:
                done = self._look(stop)
                yield from self._exchange.read_records()
        except (TrainingError, ClusterError) as error:
            self._corrupt = error if isinstance(error, CorruptError) else None
            # Nobody may go on writing while the last whole state is read.
            self._end_server()
            yield from self._exchange.read_records()
            self.step = self._exchange.step
            raise
        except GeneratorExit:
            self.halt()
            while done is None:
                done = self._look(stop)
            list(self._exchange.read_records())
            self.step = done["done"]
            raise
        self.step = done["done"]
        check_diverged(done)

    @property
    def recoveries(self) -> int:
        """Workers and servers that were lost so far."""
        return self._servers_lost + self._places.lost

    def spent(self) -> TimeSpent:
        """Return what workers and server have done with their time so far."""
        *computing, serving = self._exchange.spent.tolist()
        return TimeSpent({self._crew.name(number): each for number, each in enumerate(computing)}, serving)

    def workers(self) -> list[WorkerRecord]:
        """Return the workers that are there, to be looked at."""
        numbers = self._places.filled
        spans = allotted(self._exchange.shape.shards, len(numbers))
        for number in numbers:
            self._shares.hear(str(number), float(self._exchange.spent[number]))
        return [
            WorkerRecord(
                number, self._crew.host(number), span, self._shares.of(str(number)), self._exchange.silence(number)
            )
            for number, span in zip(numbers, spans, strict=True)
        ]

    def halt(self) -> None:
        """Let :meth:`steps` end after the step that is going on."""
        self._exchange.stop_asked[0] = 1

    def restart(self, state: Array, step: int) -> None:
        """Go back to this state after ``step`` steps."""
        self._exchange.go_to(step)  # first, so that the server knows that what it finds there is no longer its own
        self._exchange.states[step % 2] = state
        self.step = step

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters).

        Raises:
            CorruptError: nobody knows whether they are right.
        """
        if self._corrupt is not None:
            raise self._corrupt
        state: Array = self._exchange.states[self.step % 2].copy()
        return state

    def _look(self, stop: int | None = None) -> dict[str, Any] | None:
        """Wait a moment and see to what has happened; return the server's answer to RUN once it is there."""
        news: dict[str, Any] | None = None
        if not self._may_ask():
            time.sleep(_LOOK_MILLISECONDS / 1000)
            return None
        if self._poll.poll(_LOOK_MILLISECONDS):
            news = receive_news(self._channel)
            if news is None:
                self._replace_server("died", stop)
            elif news and "done" not in news:
                self._places.hear(news)
        elif self._exchange.silence(self._exchange.shape.workers) > self._config.timeout:
            self._end_server()
            self._replace_server(f"gave no answer for {self._config.timeout:g} s (--timeout)", stop)
        if time.monotonic() > self._next_care:
            self._next_care = time.monotonic() + _CARE_SECONDS
            if self._head is None or self._head.look(self._exchange.step):  # else nobody can be started
                self._places.care()
        return news if news is not None and "done" in news else None

    def _serve(self) -> None:
        """Start the server's loop and connect to it; if its process dies before, start another one.

        Raises:
            PeerLostError: none came up within --wait.
        """
        exchange, wait = self._exchange, longest_start(self._config)
        given_up, pause, cause = time.monotonic() + self._config.wait, 0.0, ""
        while True:
            exchange.beats[exchange.shape.workers] = time.monotonic() + wait  # so long it may take to show its life
            exchange.processes[exchange.shape.workers] = 0
            self._serving = self._crew.server.serve.remote(
                exchange.folder, exchange.shape, self._rows, self._places.silent
            )
            deadline = time.monotonic() + wait
            while time.monotonic() < deadline:
                channel = connect(exchange.folder, DRIVER, _CARE_SECONDS)
                if channel is not None:
                    self._channel = channel
                    self._poll = select.poll()
                    self._poll.register(channel, select.POLLIN)
                    return
                self._look_for_head()
                ended = ending(self._serving, self._crew.name(None))
                if ended is not None:
                    cause = ended
                    break
            if time.monotonic() + pause > given_up:
                raise PeerLostError(
                    f"no parameter server came up within {self._config.wait:g} s (--wait) "
                    f"{self._when()}{in_brackets(cause)}"
                )
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause + _CARE_SECONDS)
            self._crew.start_server()

    def _look_for_head(self) -> None:
        """Raise HeadLostError if this is a cluster whose head has not answered for --timeout."""
        if self._head is not None:
            self._head.look(self._exchange.step)

    def _replace_server(self, why: str, stop: int | None) -> None:
        """Start a new server, which goes on from the newest whole state; what the old one half wrote is not read.

        Raises:
            PeerLostError: the server ended by itself with an error, or none does a step.
        """
        if self._local is not None:
            self._local.make_sure(self._exchange.step)
        self._channel.close()
        self._look_for_head()
        step = self._exchange.step
        # This raises what the server itself had to say.
        cause = in_brackets(ending(self._serving, self._crew.name(None), _DEATH_SECONDS) or "")
        wait = self._config.wait
        if self._standstill.seconds(step) > wait:
            raise PeerLostError(
                f"one parameter server after the other was lost in step {step}, for {wait:g} s (--wait){cause}"
            )
        self._servers_lost += 1
        name = self._crew.name(None)
        self._crew.note(f"{name} {why} in step {step}{cause}: another one goes on from its newest state")
        self._places.server_lost()
        self._crew.start_server()
        self._serve()
        if stop is not None:
            self._channel.send(RUN.pack(step, stop, self._factor))

    def _may_ask(self) -> bool:
        """Return whether a private Ray may be asked; once its raylet is gone, the first question ends this process.

        Raises:
            HeadLostError: it was lost.
        """
        return self._local is None or self._local.look(self._exchange.step)

    def _end_server(self) -> None:
        """Make sure that the server writes nothing any more.

        Raises:
            PeerLostError: it does not end even when it is killed.
        """
        if self._channel.ends_within(0.0):
            return
        self._exchange.end_process(self._exchange.shape.workers)
        if not self._channel.ends_within(_DEATH_SECONDS):
            raise PeerLostError(f"{self._crew.name(None)} shows no life and cannot be killed {self._when()}")

    def _when(self) -> str:
        return f"in step {self._exchange.step}"

    def close(self) -> None:
        """Let server and workers end by themselves: the server when the driver's channel closes, then the workers."""
        self._channel.close()
        if self._local is not None and self._local.lost():
            return
        with suppress(RayError):
            calls = [self._serving, *self._places.calls]
            ray.wait(calls, num_returns=len(calls), timeout=1)


@contextmanager
def one_host_executor(crew: WorkerGroup, state: Array, rows: int, step: int, layers: int) -> Iterator[OneHostExecutor]:
    """Make the shared memory, let the actors into it, and take it away at the end."""
    config = crew.config
    assert config.shards is not None
    sums = buffers_for(config.shards, config.worker_count)
    slots, parameters = state.shape
    shape = Shape(slots, parameters, state.dtype.name, config.worker_count, sums, config.shards, layers)
    with private_folder(memory_folder()) as folder:
        exchange = SharedMemory(folder, shape, create=True)
        exchange.states[step % 2] = state
        exchange.go_to(step)
        path = OneHostExecutor(crew, exchange, rows)
        path.start()
        try:
            yield path
        finally:
            path.close()
