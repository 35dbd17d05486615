"""The server's loop on one host: a round per step, whoever comes and goes meanwhile. The driver is not in it."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterable
from contextlib import suppress

import numpy as np

from distbp.data.dataset import Array
from distbp.data.order import Order
from distbp.errors import CorruptError, PeerLostError
from distbp.parallel.decisions import Compare, Compute, Decision, Lose, Stop, Use, contradiction
from distbp.parallel.diagnosis import is_diagnosed
from distbp.parallel.exchange import Exchange
from distbp.parallel.loops import beat_seconds
from distbp.parallel.mesh.meeting import HostsLostError
from distbp.parallel.mesh.mesh import Mesh
from distbp.parallel.messages import (
    DRIVER,
    GO,
    NO_STEP,
    RUN,
    Channel,
    accepted,
    done_news,
    listen,
    look_before_sleeping,
    report_size,
    send_news,
    unpack_progress,
    unpack_report,
)
from distbp.parallel.records import Report, StepRecord
from distbp.parallel.server import ParameterServer
from distbp.parallel.shards import Span
from distbp.parallel.slabs import Progress, Slabs
from distbp.parallel.spare import Spare
from distbp.parallel.supervisor import Supervisor

_LONGEST_LOOK = 1.0
_LOOK_FOR_LATE = 0.05


class _DriverGone(Exception):
    """The driver has closed its channel: all is done, or it was killed."""


class Rounds:
    """The server's side: every shard of a step is collected from whoever has computed it, then applied."""

    def __init__(
        self,
        server: ParameterServer,
        exchange: Exchange,
        order: Order,
        timeout: float,
        wait: float,
        unheard: Iterable[int] = (),
    ) -> None:
        """Serve the workers of ``exchange``; ``unheard`` are those that a server before this one had."""
        shape = exchange.shape
        self._server, self._exchange, self._order, self._shards = server, exchange, order, shape.shards
        self._timeout, self._wait = timeout, wait
        self._supervisor = Supervisor(shape.sums, shape.spare, shape.shards, timeout, wait, unheard)
        exchange.processes[shape.workers] = os.getpid()  # whoever can connect can also end this process
        self._listener = listen(exchange.folder)
        self._driver: Channel | None = None
        self._workers: dict[int, Channel] = {}
        self._numbers: dict[int, int] = {}
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._reports: list[Report] = []
        self._kept: dict[tuple[int, Span], Array] = {}
        self._slabs = Slabs(exchange.slabs)
        self._goal: tuple[int, int, float] | None = None
        """From which step on to which one the driver wants to go, with lr times what."""
        self._next_tick = 0.0
        self._report_size = report_size(shape.shards)
        self._supervisor.has_spare = Spare(exchange, lambda text: self._tell_driver(note=text)).is_there
        self._lost: set[int] = set()
        self._progress = Progress([], shape.layers)
        self.mesh: Mesh | None = None
        """The exchange with other hosts, changed only while no step is being done."""

    def serve(self) -> None:
        """Do the steps that the driver asks for, until it is gone.

        Raises:
            PeerLostError: the driver did not come, or no worker is left, or a shard brings down every worker.
            CorruptError: two workers gave different bits for the same shards.
        """
        shape = self._exchange.shape
        with self._listener, self._exchange.beating(shape.workers, beat_seconds(self._timeout)), suppress(_DriverGone):
            try:
                deadline = time.monotonic() + self._wait
                while True:
                    self._attend(_LONGEST_LOOK)
                    self._look_around()
                    if self._driver is None and time.monotonic() > deadline:
                        raise PeerLostError(f"the driver did not come within {self._wait:g} s (--wait)")
                    if self._goal is not None:
                        try:
                            last = self._run(*self._goal)
                            news = done_news(self._server.step, last)
                        except HostsLostError as error:
                            news = {"done": self._server.step, "hosts": list(error.why.items())}
                        self._goal = None
                        self._tell_driver(**news)
            finally:
                for channel in self._workers.values():
                    channel.send(GO.pack(NO_STEP, 0, 0, 0))
                    channel.close()
                if self._driver is not None:
                    self._driver.close()

    def _run(self, first: int, stop: int, factor: float) -> StepRecord | None:
        """Do the steps from ``first`` on to before ``stop``, or to where it is asked to stop; return the last."""
        record = None
        exchange, server = self._exchange, self._server
        if first != server.step:
            # A late answer to what was asked before would be taken for one of the step that has the same number now.
            while not self._supervisor.is_quiet:
                self._attend(_LOOK_FOR_LATE)
                self._look_around()
            server.step = first
        server.factor = factor
        epoch, ends = self._order.steps_per_epoch, False
        while server.step < stop and not (ends or (self.mesh is None and exchange.stop_asked[0])):
            began, step = time.perf_counter(), server.step
            rows = self._order.size(step)
            whole, diagnose = Span(0, self._shards_in(step)), is_diagnosed(step, epoch)
            mine = whole
            if self.mesh is not None:
                mine = self.mesh.span(whole.stop)
                self.mesh.begin(server.begin_early(rows, diagnose))
            self._collect(step, mine)
            collected = time.perf_counter()
            reports, sums = self._reports, self._slabs.sums(self._supervisor.done.values(), whole.stop)
            if self.mesh is not None:
                reports, total = self.mesh.exchange(reports, sums, bool(exchange.stop_asked[0]))
                sums, ends = {whole: total}, self.mesh.ends
            record = server.update(step, reports, sums, began, diagnose)
            if record.divergence is not None:
                return record
            exchange.spent[-1] += record.seconds - (collected - began)
            while exchange.is_full:
                self._attend(_LOOK_FOR_LATE)
            exchange.publish(record)
        return record

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
                self.mesh.check()
            if self._reports:  # the others will not be long
                look_before_sleeping(lambda: bool(self._poll.poll(0)))
            self._attend(_LOOK_FOR_LATE if self._reports else min(_LONGEST_LOOK, self._timeout / 4))
            self._look_around()

    def _attend(self, seconds: float) -> None:
        """See to whatever comes next."""
        for descriptor, _ in self._poll.poll(1000 * seconds):
            number = self._numbers.get(descriptor)
            if number is not None:
                self._hear_worker(number)
            elif descriptor == self._listener.fileno():
                self._accept()
            elif self._driver is not None and descriptor == self._driver.fileno():
                self._hear_driver()

    def _look_around(self) -> None:
        """Now and then look whether everybody still shows life and nobody is late."""
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + _LOOK_FOR_LATE
            silent = {number: self._exchange.silence(number) for number in self._workers}
            self._do(self._supervisor.tick(now, silent))
            for number in self._supervisor.dying:
                if number not in self._workers and self._exchange.has_ended(number):
                    self._do(self._supervisor.left(number, -1, now))

    def _accept(self) -> None:
        found = accepted(self._listener)
        if found is None:
            return
        number, channel = found
        self._poll.register(channel, select.POLLIN)
        if number == DRIVER:
            self._driver = channel
            for present in self._workers:
                self._tell_driver(joined=present)
            return
        if number in self._workers:  # its end was not heard yet
            self._left(number)
        self._workers[number] = channel
        self._numbers[channel.fileno()] = number
        self._do(self._supervisor.joined(number, time.monotonic()))
        self._tell_driver(joined=number)

    def _hear_driver(self) -> None:
        assert self._driver is not None
        message = self._driver.receive(RUN.size)
        if message is None:
            raise _DriverGone
        self._goal = RUN.unpack(message)

    def _hear_worker(self, number: int) -> None:
        message = self._workers[number].receive(self._report_size)
        if message is None:
            self._left(number)
            return
        progress = unpack_progress(message) if self.mesh is not None else None
        if progress is not None:
            self._hear_progress(number, *progress)
            return
        step, report = unpack_report(message)
        decisions = self._supervisor.reported(number, step, report.held, time.monotonic())
        if decisions:
            if isinstance(decisions[0], Use):
                self._reports.append(report)
            self._do(decisions)

    def _hear_progress(self, number: int, step: int, held: Span, layer: int) -> None:
        """Pass on to the other hosts what all workers of this one have finished."""
        reached = self._progress.hear(number, step, held, layer)
        if reached is not None and self.mesh is not None:
            self._supervisor.read = frozenset(task.row for task in self._progress.tasks)
            self.mesh.push(reached, self._slabs.sums(self._progress.tasks, self._shards_in(step)))

    def _left(self, number: int) -> None:
        """See to a worker whose process has ended, which the kernel says by closing its channel."""
        channel = self._workers.pop(number)
        del self._numbers[channel.fileno()]
        self._poll.unregister(channel)
        channel.close()
        if number in self._lost:
            self._lost.discard(number)
            self._tell_driver(left=number)
        else:
            self._tell_driver(left=number, why=f"died in step {self._server.step}")
        self._do(self._supervisor.left(number, int(self._exchange.doing[number]), time.monotonic()))
        self._exchange.doing[number] = -1
        self._kept = {key: rows for key, rows in self._kept.items() if key in self._supervisor.contested}

    def _tell_driver(self, **news: object) -> None:
        if self._driver is not None:
            send_news(self._driver, news)

    def _do(self, decisions: Iterable[Decision]) -> None:
        """Do what the supervisor has decided."""
        for decision in decisions:
            if isinstance(decision, Compute):
                self._send(decision)
            elif isinstance(decision, Use):
                if decision.keep:
                    self._kept[decision.task.step, decision.task.held] = self._slabs.rows(
                        decision.task, self._shards_in(decision.task.step)
                    ).copy()
            elif isinstance(decision, Compare):
                self._compare(decision)
            elif isinstance(decision, Lose):
                self._lose(decision)
            elif isinstance(decision, Stop):
                raise PeerLostError(decision.why)

    def _send(self, task: Compute) -> None:
        # A worker that is gone is heard of at the next poll.
        self._workers[task.worker].send(GO.pack(task.step, *task.held, task.row))

    def _lose(self, decision: Lose) -> None:
        """End a worker that is only silent, so that it writes nothing any more; its channel's end will say when."""
        self._lost.add(decision.worker)
        self._tell_driver(lost=decision.worker, why=decision.why)
        self._exchange.end_process(decision.worker)

    def _compare(self, decision: Compare) -> None:
        task = decision.task
        kept = self._kept.pop((task.step, task.held))
        went_back = self._exchange.step != self._server.step
        if task.step < self._server.step - 1 or went_back:  # the weights that it was to read were written over
            return
        if not np.array_equal(kept.view(np.uint8), self._slabs.rows(task, self._shards_in(task.step)).view(np.uint8)):
            raise CorruptError(contradiction(decision, socket.gethostname()))

    def _shards_in(self, step: int) -> int:
        return min(self._shards, self._order.size(step))
