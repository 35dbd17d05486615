"""Training by actors on one host through shared memory; the driver watches them and replaces lost ones."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError

from distbp.actors.connection.calls import ending, in_brackets
from distbp.actors.ray_watch import RayWatch
from distbp.actors.slots import Slots
from distbp.actors.stall import StallTimer
from distbp.actors.utilisation import ComputingShares, allotted
from distbp.actors.worker_group import WorkerGroup, longest_start
from distbp.data.dataset import Array
from distbp.errors import ClusterError, CorruptError, PeerLostError, TrainingError
from distbp.parallel.host.messages import RunEnded
from distbp.parallel.host.server_link import ServerLink
from distbp.parallel.host.shared_memory import Shape, SharedMemory
from distbp.parallel.step.records import StepRecord, TimeSpent, WorkerRecord
from distbp.parallel.step.shards import buffers_for
from distbp.system.folders import memory_folder, private_folder

_POLL_SECONDS = 0.05
"""Time between two reads of the steps' records."""
_MAINTENANCE_SECONDS = 0.25
"""Time between two checks of starting workers."""
_DEATH_SECONDS = 5.0
"""Time that the end of a killed process may take."""
_LONGEST_PAUSE = 4.0
"""Longest pause between two attempts to start a server."""


class _Goal(NamedTuple):
    """What the driver requests of the server."""

    stop: int
    """The step to stop before."""
    factor: float
    """The factor of the step size."""


class OneHostExecutor:
    """Requests many steps at once from the server and reads their records; the steps need no driver."""

    def __init__(self, group: WorkerGroup, memory: SharedMemory) -> None:
        self._group, self._memory = group, memory
        self._slots = Slots(
            memory, group.config, group.start_worker, group.name, group.note, longest_start(group.config)
        )
        self._serving: Any = None
        """The pending Ray call that runs the server's loop."""
        self._link: ServerLink
        self._stall = StallTimer()
        self._next_maintenance = 0.0
        self._ray = RayWatch(group.config.timeout)
        self.step = memory.step
        self._servers_lost = 0
        self._corrupt: CorruptError | None = None
        self._shares = ComputingShares()

    def start(self) -> None:
        """Start the loops of server and workers, and wait until enough workers have connected.

        Raises:
            ClusterError: they do not connect within --wait.
        """
        group, config = self._group, self._group.config
        for number, worker in list(group.workers.items()):
            if number in group.pings:
                self._slots.begin(number, worker)
            else:
                ray.kill(group.workers.pop(number))  # maintenance starts another one
        self._start_server_loop()
        deadline = time.monotonic() + config.wait
        while self._slots.present < config.workers.least:
            self._poll()
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{self._slots.present} of {config.workers.least} workers joined within {config.wait:g} s (--wait)"
                )

    def steps(self, stop: int, factor: float = 1.0) -> Generator[StepRecord, None, None]:
        """Do the steps up to before ``stop``; yield each step's record some time after its update."""
        memory, goal = self._memory, _Goal(stop, factor)
        memory.stop_requested[0] = 0
        self._link.run(self.step, *goal)
        ended: RunEnded | None = None
        try:
            while ended is None:
                ended = self._poll(goal)
                yield from memory.records.read()
        except (TrainingError, ClusterError) as error:
            self._corrupt = error if isinstance(error, CorruptError) else None
            self._end_server()  # nothing may write while the last complete state is read
            yield from memory.records.read()
            self.step = memory.step
            raise
        except GeneratorExit:
            self.halt()
            while ended is None:
                ended = self._poll(goal)
            list(memory.records.read())
            self.step = ended.steps
            raise
        self.step = ended.steps
        ended.check()

    @property
    def recoveries(self) -> int:
        """Workers and servers lost so far."""
        return self._servers_lost + self._slots.lost

    def spent(self) -> TimeSpent:
        """Return the time that workers and server have spent so far."""
        *computing, serving = self._memory.spent.tolist()
        return TimeSpent({self._group.name(number): each for number, each in enumerate(computing)}, serving)

    def workers(self) -> list[WorkerRecord]:
        """Return the connected workers, for display."""
        memory, numbers = self._memory, self._slots.filled
        records = []
        for number, span in zip(numbers, allotted(memory.shape.shards, len(numbers)), strict=True):
            self._shares.update(str(number), float(memory.spent[number]))
            share, silence = self._shares.of(str(number)), memory.processes.silence(number)
            records.append(WorkerRecord(number, self._group.host(number), span, share, silence))
        return records

    def halt(self) -> None:
        """Let :meth:`steps` end after the running step."""
        self._memory.stop_requested[0] = 1

    def restart(self, state: Array, step: int) -> None:
        """Go back to ``state``, which is the state after ``step`` steps."""
        self._memory.records.restart(step)  # first: it shows the server that the state is no longer its own
        self._memory.states[step % 2] = state
        self.step = step

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters).

        Raises:
            CorruptError: the state cannot be trusted.
        """
        if self._corrupt is not None:
            raise self._corrupt
        state: Array = self._memory.states[self.step % 2].copy()
        return state

    def _poll(self, goal: _Goal | None = None) -> RunEnded | None:
        """Wait a moment and handle what has happened; return the server's answer if it has arrived, else None."""
        memory, timeout = self._memory, self._group.config.timeout
        ended: RunEnded | None = None
        if not self._ray.may_ask(memory.step):
            time.sleep(_POLL_SECONDS)
            return None
        try:
            message = self._link.next_message(_POLL_SECONDS)
        except EOFError:
            self._replace_server("died", goal)
        else:
            if isinstance(message, RunEnded):
                ended = message
            elif message is not None:
                self._slots.handle(message)
            elif memory.processes.silence(memory.shape.workers) > timeout:
                self._end_server()
                self._replace_server(f"sent no heartbeat for {timeout:g} s (--timeout)", goal)
        if time.monotonic() > self._next_maintenance:
            self._next_maintenance = time.monotonic() + _MAINTENANCE_SECONDS
            if self._ray.may_start_actors(memory.step):
                self._slots.maintain()
        return ended

    def _start_server_loop(self) -> None:
        """Start the server's loop and connect to it; if its process dies first, start another server.

        Raises:
            PeerLostError: no server can be reached within --wait.
        """
        memory, wait = self._memory, longest_start(self._group.config)
        server = memory.shape.workers
        given_up, pause, cause = time.monotonic() + self._group.config.wait, 0.0, ""
        while True:
            memory.processes.heartbeats[server] = time.monotonic() + wait  # time to send its first one
            memory.processes.ids[server] = 0
            self._serving = self._group.server.serve.remote(
                memory.folder, memory.shape, self._group.row_count, self._slots.orphans
            )
            deadline = time.monotonic() + wait
            while time.monotonic() < deadline:
                link = ServerLink.to(memory.folder, _MAINTENANCE_SECONDS)
                if link is not None:
                    self._link = link
                    return
                self._ray.may_start_actors(memory.step)  # raises if the head is lost
                ended = self._server_death()
                if ended is not None:
                    cause = ended
                    break
            if time.monotonic() + pause > given_up:
                raise PeerLostError(
                    f"no parameter server could be started within {self._group.config.wait:g} s (--wait) in step "
                    f"{memory.step}"
                    f"{in_brackets(cause)}"
                )
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause + _MAINTENANCE_SECONDS)
            self._group.start_server()

    def _server_death(self, seconds: float = 0.0) -> str | None:
        """Wait for the server's loop to end; return the cause, empty if unknown; None if it has not ended.

        Raises:
            TrainingError, ClusterError: the loop has ended with this error.
        """
        return ending(self._serving, self._group.name(None), seconds)

    def _replace_server(self, reason: str, goal: _Goal | None) -> None:
        """Start a new server, which continues from the latest complete state.

        Raises:
            PeerLostError: servers are lost again and again in one step.
            TrainingError: the server ended with an error of its own.
        """
        self._ray.make_sure(self._memory.step)
        self._link.close()
        step, wait = self._memory.step, self._group.config.wait
        self._ray.may_start_actors(step)  # raises if the head is lost
        cause = in_brackets(self._server_death(_DEATH_SECONDS) or "")
        if self._stall.seconds(step) > wait:
            raise PeerLostError(
                f"the parameter server was lost again and again in step {step}, for {wait:g} s (--wait){cause}"
            )
        self._servers_lost += 1
        name = self._group.name(None)
        self._group.note(f"{name} {reason} in step {step}{cause}: a new one continues from its latest state")
        self._slots.server_lost()
        self._group.start_server()
        self._start_server_loop()
        if goal is not None:
            self._link.run(step, *goal)

    def _end_server(self) -> None:
        """Make sure that the server no longer writes.

        Raises:
            PeerLostError: it does not end even when it is killed.
        """
        if self._link.closes_within(0.0):
            return
        self._memory.processes.kill(self._memory.shape.workers)
        if not self._link.closes_within(_DEATH_SECONDS):
            name, step = self._group.name(None), self._memory.step
            raise PeerLostError(f"{name} sends no heartbeat and cannot be killed in step {step}")

    def close(self) -> None:
        """Close the driver's channel, upon which the server ends and orders its workers to end."""
        self._link.close()
        if self._ray.is_lost():
            return
        with suppress(RayError):
            calls = [self._serving, *self._slots.calls]
            ray.wait(calls, num_returns=len(calls), timeout=1)


@contextmanager
def one_host_executor(group: WorkerGroup, state: Array, step: int, layers: int) -> Iterator[OneHostExecutor]:
    """Create the shared memory and start the actors' loops; remove the memory at the end."""
    config = group.config
    sums = buffers_for(config.shards, config.workers.most)
    state_rows, parameters = state.shape
    shape = Shape(state_rows, parameters, state.dtype.name, config.workers.most, sums, config.shards, layers)
    with private_folder(memory_folder()) as folder:
        memory = SharedMemory(folder, shape, create=True)
        memory.states[step % 2] = state
        memory.records.restart(step)
        executor = OneHostExecutor(group, memory)
        executor.start()
        try:
            yield executor
        finally:
            executor.close()
