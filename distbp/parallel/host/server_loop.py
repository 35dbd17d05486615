"""The server's loop on one host: it does the steps that the driver requests, while workers join and leave."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from distbp.data.epoch_order import EpochOrder
from distbp.errors import PeerLostError
from distbp.parallel.host.channel import DRIVER, spin_before_sleeping
from distbp.parallel.host.connections import NEWCOMER, Connections
from distbp.parallel.host.messages import RUN, RunEnded, ViewEnded, WeightsDiffer, WorkerJoined, ended_run
from distbp.parallel.host.shared_memory import SharedMemory
from distbp.parallel.host.supervisor import Supervisor
from distbp.parallel.host.worker_loop import heartbeat_seconds
from distbp.parallel.host.worker_tasks import CHECK_SECONDS, WorkerTasks
from distbp.parallel.mesh.agreement import WeightsDifferError
from distbp.parallel.mesh.mesh import Mesh
from distbp.parallel.mesh.rendezvous import HostsLostError
from distbp.parallel.mesh.step_exchange import HostReports
from distbp.parallel.step.diagnosis import is_diagnosed
from distbp.parallel.step.records import StepRecord
from distbp.parallel.step.server import ParameterServer
from distbp.parallel.step.shards import Span

_LONGEST_WAIT = 1.0


class _DriverGone(Exception):
    """The driver has closed its channel: the run is over, or the driver was killed."""


class ServerLoop:
    """Collects the gradient sums of all shards of a step, then applies the update.

    The driver requests many steps at once and has no part in any of them.
    """

    def __init__(
        self,
        server: ParameterServer,
        memory: SharedMemory,
        order: EpochOrder,
        timeout: float,
        wait: float,
        orphans: Iterable[int] = (),
    ) -> None:
        """Serve the workers that share ``memory``; ``orphans`` are workers of the previous server."""
        shape = memory.shape
        self._server, self._memory, self._order = server, memory, order
        self._timeout, self._wait = timeout, wait
        # Registered before the socket listens: a process that can connect must also be able to kill a frozen server.
        memory.processes.register(shape.workers)
        self._connections = Connections(memory.folder)
        supervisor = Supervisor(shape.sums, shape.spare, shape.shards, timeout, wait, orphans)
        self._workers = WorkerTasks(server, memory, order, self._connections, supervisor)
        self._goal: tuple[int, int, float] | None = None
        """The driver's request: first step, the step to stop before, factor of the step size."""
        self._layers: tuple[int, ...] = ()
        """A hash of each layer's weights after the last step, to compare with other hosts."""

    @property
    def mesh(self) -> Mesh | None:
        """The connections to other hosts; set only while no step is running."""
        return self._workers.mesh

    @mesh.setter
    def mesh(self, mesh: Mesh) -> None:
        self._workers.mesh = mesh

    def serve(self) -> None:
        """Do the steps that the driver requests, until it closes its channel.

        Raises:
            PeerLostError: the driver did not connect, or no worker is left, or a shard kills every worker.
            CorruptError: two workers computed different bits for the same shards.
        """
        heartbeat = self._memory.processes.heartbeat(self._memory.shape.workers, heartbeat_seconds(self._timeout))
        with self._connections as connections, heartbeat, suppress(_DriverGone):
            deadline = time.monotonic() + self._wait
            while True:
                self._handle_events(_LONGEST_WAIT)
                self._workers.check()
                if not connections.has_driver and time.monotonic() > deadline:
                    raise PeerLostError(f"the driver did not connect within {self._wait:g} s (--wait)")
                if self._goal is not None:
                    answer = self._run(*self._goal)
                    self._goal = None
                    connections.send_to_driver(answer)

    def _run(self, first: int, stop: int, factor: float) -> RunEnded:
        """Do the requested steps, fewer if a halt is requested; return the answer to RUN."""
        try:
            last = self._steps(first, stop, factor)
            answer = ended_run(self._server.step, last)
        except HostsLostError as error:
            self._workers.abandon()
            reasons, damaged = tuple(error.reasons.items()), tuple(error.damaged)
            answer = ViewEnded(steps=self._server.step, reasons=reasons, damaged=damaged)
        except WeightsDifferError as error:
            self._workers.abandon()
            answer = WeightsDiffer(steps=self._server.step, difference=error.difference)
        if self.mesh is not None:
            answer = replace(answer, layers=self._layers, resent=tuple(self.mesh.members.damages()))
        return answer

    def _steps(self, first: int, stop: int, factor: float) -> StepRecord | None:
        """Do the steps; return the record of the last one."""
        record = None
        memory, server, workers = self._memory, self._server, self._workers
        mesh = workers.mesh  # looked up once: a step of a small network takes 0.1 ms
        if first != server.step:
            workers.abandon()  # stragglers have read, or still read, the weights of another step
            server.step = first
        server.factor = factor
        self._layers = server.layers() if mesh is not None else ()
        epoch, ends = self._order.steps_per_epoch, False
        while server.step < stop and not (ends or (mesh is None and memory.stop_requested[0])):
            began, step = time.perf_counter(), server.step
            rows = self._order.size(step)
            whole, diagnose = Span(0, workers.shards_in(step)), is_diagnosed(step, epoch)
            own = whole
            if mesh is not None:
                own = mesh.span(whole.stop)
                mesh.begin(step, server.begin_early(rows, diagnose))
            self._collect(step, own)
            collected = time.perf_counter()
            reports, sums = workers.reports, workers.sums(whole.stop)
            if mesh is not None:
                workers.end_early_sending()
                local = HostReports(reports, self._layers, bool(memory.stop_requested[0]))
                reports, total = mesh.exchange(step, local, sums, workers.factor_buffers())
                sums, ends = {whole: total}, mesh.stop_agreed
            record = server.update(step, reports, sums, began, diagnose)
            if record.divergence is not None:
                return record
            self._layers = record.layers
            memory.spent[-1] += record.seconds - (collected - began)
            while memory.records.is_full:
                self._handle_events(CHECK_SECONDS)
            memory.records.publish(record)
        return record

    def _collect(self, step: int, own: Span) -> None:
        """Wait until the workers have computed this host's shards of a step."""
        workers, mesh = self._workers, self._workers.mesh
        workers.begin(step, own)
        while not workers.supervisor.is_complete:
            if mesh is not None:
                mesh.members.check()
            if workers.reports:  # the other workers will report soon
                spin_before_sleeping(self._connections.has_input)
            self._handle_events(CHECK_SECONDS if workers.reports else min(_LONGEST_WAIT, self._timeout / 4))
            workers.check()

    def _handle_events(self, seconds: float) -> None:
        """Wait for input on any channel and handle it."""
        for number in self._connections.wait(seconds):
            if number == NEWCOMER:
                self._accept()
            elif number == DRIVER:
                self._read_driver()
            else:
                self._workers.read(number)

    def _accept(self) -> None:
        accepted = self._connections.accept()
        if accepted is None:
            return
        number, channel = accepted
        if number != DRIVER:
            self._workers.join(number, channel)
            return
        self._connections.add(number, channel)
        for worker in self._connections.workers:
            self._connections.send_to_driver(WorkerJoined(worker))

    def _read_driver(self) -> None:
        message = self._connections[DRIVER].take(RUN.size)
        if message is None:
            raise _DriverGone
        if message:
            self._goal = RUN.unpack(message)
