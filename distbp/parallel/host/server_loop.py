"""The server's loop on one host: a round per step, whoever comes and goes meanwhile. The driver is not in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress

from distbp.data.dataset import Array
from distbp.data.epoch_order import EpochOrder
from distbp.errors import PeerLostError
from distbp.parallel.host.connections import NEWCOMER, Connections
from distbp.parallel.host.contests import Contests
from distbp.parallel.host.decisions import Compare, Compute, Decision, Lose, Stop, Use
from distbp.parallel.host.messages import DRIVER, GO, RUN, done_news, look_before_sleeping, lost_news
from distbp.parallel.host.shared_memory import SharedMemory
from distbp.parallel.host.slabs import Progress, Slabs, places_of
from distbp.parallel.host.spare import Spare
from distbp.parallel.host.supervisor import Supervisor
from distbp.parallel.host.worker_loop import heartbeat_seconds
from distbp.parallel.mesh.agreement import WeightsDifferError
from distbp.parallel.mesh.mesh import Mesh
from distbp.parallel.mesh.rendezvous import HostsLostError
from distbp.parallel.mesh.step_exchange import HostReports
from distbp.parallel.step.diagnosis import is_diagnosed
from distbp.parallel.step.records import Report, StepRecord
from distbp.parallel.step.reports import report_size, unpack_progress, unpack_report
from distbp.parallel.step.server import ParameterServer
from distbp.parallel.step.shards import Span

_LONGEST_LOOK = 1.0
_LOOK_FOR_LATE = 0.05


class _DriverGone(Exception):
    """The driver has closed its channel: all is done, or it was killed."""


class ServerLoop:
    """The server's side: every shard of a step is collected from whoever has computed it, then applied."""

    def __init__(
        self,
        server: ParameterServer,
        exchange: SharedMemory,
        order: EpochOrder,
        timeout: float,
        wait: float,
        silent: Iterable[int] = (),
    ) -> None:
        """Serve the workers of ``exchange``; ``silent`` are those that a server before this one had."""
        shape = exchange.shape
        self._server, self._exchange, self._order, self._shards = server, exchange, order, shape.shards
        self._timeout, self._wait = timeout, wait
        self._supervisor = Supervisor(shape.sums, shape.spare, shape.shards, timeout, wait, silent)
        exchange.processes[shape.workers] = os.getpid()  # whoever can connect can also end this process
        self._connections = Connections(exchange.folder)
        self._reports: list[Report] = []
        self._contests = Contests()
        self._slabs = Slabs(exchange.slabs)
        self._goal: tuple[int, int, float] | None = None
        """From which step on to which one the driver wants to go, with lr times what."""
        self._next_tick = 0.0
        self._report_size = report_size(shape.shards)
        self._supervisor.has_spare = Spare(
            self._reserve_spare, lambda text: self._connections.tell_driver(note=text)
        ).is_there
        self._lost: set[int] = set()
        self._progress = Progress()
        self._layers: tuple[int, ...] = ()
        """The hashes of the weights after the server's last step, where other hosts are to have the same."""
        self.mesh: Mesh | None = None
        """The exchange with other hosts, changed only while no step is being done."""

    def serve(self) -> None:
        """Do the steps that the driver asks for, until it is gone.

        Raises:
            PeerLostError: the driver did not come, or no worker is left, or a shard brings down every worker.
            CorruptError: two workers gave different bits for the same shards.
        """
        shape = self._exchange.shape
        beating = self._exchange.beating(shape.workers, heartbeat_seconds(self._timeout))
        with self._connections as connections, beating, suppress(_DriverGone):
            deadline = time.monotonic() + self._wait
            while True:
                self._attend(_LONGEST_LOOK)
                self._look_around()
                if not connections.has_driver and time.monotonic() > deadline:
                    raise PeerLostError(f"the driver did not come within {self._wait:g} s (--wait)")
                if self._goal is not None:
                    try:
                        last = self._run(*self._goal)
                        news = done_news(self._server.step, last)
                    except HostsLostError as error:
                        self._abandon()
                        news = lost_news(self._server.step, error.reasons, error.damaged)
                    except WeightsDifferError as error:
                        self._abandon()
                        news = {"done": self._server.step, "differ": error.difference}
                    if self.mesh is not None:
                        news |= {"layers": self._layers, "again": self.mesh.members.damages()}
                    self._goal = None
                    connections.tell_driver(**news)

    def _run(self, first: int, stop: int, factor: float) -> StepRecord | None:
        """Do the steps from ``first`` on to before ``stop``, or to where it is asked to stop; return the last."""
        record = None
        exchange, server = self._exchange, self._server
        if first != server.step:
            self._abandon()  # late workers have read, or still read, what is another step's now
            server.step = first
        server.factor = factor
        self._layers = server.layers() if self.mesh is not None else ()
        epoch, ends = self._order.steps_per_epoch, False
        while server.step < stop and not (ends or (self.mesh is None and exchange.stop_asked[0])):
            began, step = time.perf_counter(), server.step
            rows = self._order.size(step)
            whole, diagnose = Span(0, self._shards_in(step)), is_diagnosed(step, epoch)
            mine = whole
            if self.mesh is not None:
                mine = self.mesh.span(whole.stop)
                self.mesh.begin(step, server.begin_early(rows, diagnose))
            self._collect(step, mine)
            collected = time.perf_counter()
            used = self._supervisor.done.values()
            reports, sums = self._reports, self._slabs.sums(used, whole.stop)
            if self.mesh is not None:
                self._progress = Progress()  # what is late from here on belongs to no step
                told = HostReports(reports, self._layers, bool(exchange.stop_asked[0]))
                reports, total = self.mesh.exchange(step, told, sums, places_of(used))
                sums, ends = {whole: total}, self.mesh.ends
            record = server.update(step, reports, sums, began, diagnose)
            if record.divergence is not None:
                return record
            self._layers = record.layers
            exchange.spent[-1] += record.seconds - (collected - began)
            while exchange.is_full:
                self._attend(_LOOK_FOR_LATE)
            exchange.publish(record)
        return record

    def _abandon(self) -> None:
        """Let what was gathered of a step die with it, also what is still to come."""
        self._supervisor.abandon()
        self._progress = Progress()
        self._reports = []

    def _collect(self, step: int, whole: Span) -> None:
        """Have every shard of ``whole`` computed by somebody."""
        self._reports = []
        tasks = self._supervisor.begin(step, whole, time.monotonic())
        if self.mesh is not None:
            planned = [task for task in tasks if isinstance(task, Compute)]
            self._progress = Progress(planned, self._exchange.shape.layers)
        self._do(tasks)
        while not self._supervisor.is_complete:
            if self.mesh is not None:
                self.mesh.members.check()
            if self._reports:  # the others will not be long
                look_before_sleeping(self._connections.look)
            self._attend(_LOOK_FOR_LATE if self._reports else min(_LONGEST_LOOK, self._timeout / 4))
            self._look_around()

    def _attend(self, seconds: float) -> None:
        """See to whatever comes next."""
        for number in self._connections.wait(seconds):
            if number == NEWCOMER:
                self._accept()
            elif number == DRIVER:
                self._hear_driver()
            else:
                self._hear_worker(number)

    def _look_around(self) -> None:
        """Now and then look whether everybody still shows life and nobody is late."""
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + _LOOK_FOR_LATE
            silent = {number: self._exchange.silence(number) for number in self._connections.workers}
            self._do(self._supervisor.tick(now, silent))
            for number in self._supervisor.dying:
                if number not in self._connections and self._exchange.has_ended(number):
                    self._do(self._supervisor.left(number, -1, now))

    def _accept(self) -> None:
        found = self._connections.accept()
        if found is None:
            return
        number, channel = found
        if number == DRIVER:
            self._connections.add(number, channel)
            for present in self._connections.workers:
                self._connections.tell_driver(joined=present)
            return
        if number in self._connections:  # its end was not heard yet
            self._left(number)
        self._connections.add(number, channel)
        self._do(self._supervisor.joined(number, time.monotonic()))
        self._connections.tell_driver(joined=number)

    def _hear_driver(self) -> None:
        message = self._connections[DRIVER].take(RUN.size)
        if message is None:
            raise _DriverGone
        if message:
            self._goal = RUN.unpack(message)

    def _hear_worker(self, number: int) -> None:
        message = self._connections[number].take(self._report_size)
        if not message:
            if message is None:
                self._left(number)
            return
        progress = unpack_progress(message) if self.mesh is not None else None
        if progress is not None:
            self._hear_progress(number, *progress)
            return
        which, report = unpack_report(message)
        decisions = self._supervisor.reported(number, which, report.span, time.monotonic())
        if decisions:
            if isinstance(decisions[0], Use):
                self._reports.append(report)
            self._do(decisions)

    def _hear_progress(self, number: int, which: int, held: Span, layer: int) -> None:
        """Pass on to the other hosts what all workers of this one have finished."""
        reached = self._progress.hear(number, which, held, layer)
        if reached is not None and self.mesh is not None:
            step, tasks = self._supervisor.step, self._progress.tasks
            self._supervisor.read = frozenset(task.row for task in tasks)
            self.mesh.push(step, reached, self._slabs.sums(tasks, self._shards_in(step)), places_of(tasks))

    def _left(self, number: int) -> None:
        """See to a worker whose process has ended, which the kernel says by closing its channel."""
        self._connections.drop(number)
        if number in self._lost:
            self._lost.discard(number)
            self._connections.tell_driver(left=number)
        else:
            self._connections.tell_driver(left=number, why=f"died in step {self._server.step}")
        self._do(self._supervisor.left(number, int(self._exchange.doing[number]), time.monotonic()))
        self._exchange.doing[number] = -1
        self._contests.forget(self._supervisor.contested)

    def _do(self, decisions: Iterable[Decision]) -> None:
        """Do what the supervisor has decided."""
        for decision in decisions:
            if isinstance(decision, Compute):
                self._send(decision)
            elif isinstance(decision, Use):
                if decision.keep:
                    self._contests.keep(decision.task, self._rows_of(decision.task))
            elif isinstance(decision, Compare):
                self._compare(decision)
            elif isinstance(decision, Lose):
                self._lose(decision)
            elif isinstance(decision, Stop):
                raise PeerLostError(decision.why)

    def _reserve_spare(self) -> None:
        self._exchange.reserve_spare()
        if self.mesh is not None:
            self.mesh.reserve(1)  # the next step's factors, while a straggler may still be writing this one's

    def _send(self, task: Compute) -> None:
        if task.place and self.mesh is not None:
            self.mesh.reserve(task.place)
        # A worker that is gone is heard of at the next poll.
        self._connections[task.worker].send(GO.pack(task.step, task.round, *task.held, task.row, task.place))

    def _lose(self, decision: Lose) -> None:
        """End a worker that is only silent, so that it writes nothing any more; its channel's end will say when."""
        self._lost.add(decision.worker)
        self._connections.tell_driver(lost=decision.worker, why=decision.why)
        self._exchange.end_process(decision.worker)

    def _compare(self, decision: Compare) -> None:
        """Compare a late worker's sums, if its weights are still whole: totals of other hosts write over them soon."""
        oldest = self._supervisor.round - (self.mesh is None)
        if self._exchange.step == self._server.step:  # else the driver has brought another state
            self._contests.settle(decision, self._rows_of(decision.task), oldest)

    def _rows_of(self, task: Compute) -> Array:
        return self._slabs.rows(task, self._shards_in(task.step))

    def _shards_in(self, step: int) -> int:
        return min(self._shards, self._order.size(step))
