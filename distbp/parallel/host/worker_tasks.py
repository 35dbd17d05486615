"""The server's side of its workers: it orders the shards of a step and collects the reports on them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from distbp.data.dataset import Array
from distbp.data.epoch_order import EpochOrder
from distbp.errors import PeerLostError
from distbp.parallel.host.channel import Channel
from distbp.parallel.host.connections import Connections
from distbp.parallel.host.decisions import Compare, Compute, Decision, Kill, Stop, Use
from distbp.parallel.host.duplicates import Duplicates
from distbp.parallel.host.messages import (
    ORDER,
    LayerDone,
    Note,
    WorkerEnded,
    WorkerJoined,
    WorkerLost,
    unpack_worker_message,
    worker_message_size,
)
from distbp.parallel.host.shared_memory import SharedMemory
from distbp.parallel.host.slabs import LayerProgress, Slabs, factor_buffers
from distbp.parallel.host.spare import SpareRows
from distbp.parallel.host.supervisor import Supervisor
from distbp.parallel.mesh.mesh import Mesh
from distbp.parallel.step.records import Report
from distbp.parallel.step.server import ParameterServer
from distbp.parallel.step.shards import Span

CHECK_SECONDS = 0.05
"""Time between two checks for stragglers and silent workers."""


class WorkerTasks:
    """Passes events of the workers to the supervisor, and carries out its decisions."""

    def __init__(
        self,
        server: ParameterServer,
        memory: SharedMemory,
        order: EpochOrder,
        connections: Connections,
        supervisor: Supervisor,
    ) -> None:
        self._server, self._memory, self._order, self._connections = server, memory, order, connections
        self.supervisor = supervisor
        supervisor.rows.has_spare = SpareRows(
            self._reserve_spare, lambda text: connections.send_to_driver(Note(text))
        ).are_available
        self.reports: list[Report] = []
        """The reports of this step whose sums are used."""
        self._slabs = Slabs(memory.slabs)
        self._duplicates = Duplicates()
        self._progress = LayerProgress()
        self._killed: set[int] = set()
        """Workers that were killed and whose channels are still open."""
        self._next_check = 0.0
        self.mesh: Mesh | None = None
        """The connections to other hosts; changes only between runs."""

    def shards_in(self, step: int) -> int:
        """Return the number of shards of a step, at most one for each row of its mini-batch."""
        return min(self._memory.shape.shards, self._order.size(step))

    def begin(self, step: int, whole: Span) -> None:
        """Order the shards ``whole`` of a step."""
        self.reports = []
        tasks = self.supervisor.begin(step, whole, time.monotonic())
        if self.mesh is not None:
            planned = [task for task in tasks if isinstance(task, Compute)]
            self._progress = LayerProgress(planned, self._memory.shape.layers)
        self._carry_out(tasks)

    def end_early_sending(self) -> None:
        """Send no more layers to other hosts ahead of the complete sums."""
        self._progress = LayerProgress()

    def sums(self, shards: int) -> Mapping[Span, Array]:
        """Return the sums of the complete step, by their spans."""
        return self._slabs.sums(self.supervisor.done.values(), shards)

    def factor_buffers(self) -> Mapping[int, int]:
        """Return the factor buffers of the step's shards, where they are not 0."""
        return factor_buffers(self.supervisor.done.values())

    def abandon(self) -> None:
        """Give up the step and ignore all its results, also those that arrive later."""
        self.supervisor.abandon()
        self._progress = LayerProgress()
        self.reports = []

    def check(self) -> None:
        """From time to time, let the supervisor look for stragglers and for workers without a heartbeat."""
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            processes = self._memory.processes
            silence = {number: processes.silence(number) for number in self._connections.workers}
            self._carry_out(self.supervisor.tick(now, silence))
            for number in self.supervisor.dying:
                if number not in self._connections and processes.has_ended(number):
                    self._carry_out(self.supervisor.ended(number, -1, now))

    def join(self, number: int, channel: Channel) -> None:
        """Add a worker that has connected."""
        if number in self._connections:  # the old connection's EOF has not been read yet
            self._ended(number)
        self._connections.add(number, channel)
        self._carry_out(self.supervisor.joined(number, time.monotonic()))
        self._connections.send_to_driver(WorkerJoined(number))

    def read(self, number: int) -> None:
        """Read what a worker has sent."""
        data = self._connections[number].take(worker_message_size(self._memory.shape.shards))
        if data is None:
            self._ended(number)
        elif data:
            message = unpack_worker_message(data)
            if isinstance(message, LayerDone):
                self._layer_done(number, message)
            else:
                self._reported(number, message.round, message.report)

    def _reported(self, number: int, which: int, report: Report) -> None:
        decisions = self.supervisor.reported(number, which, report.span, time.monotonic())
        if decisions:
            if isinstance(decisions[0], Use):
                self.reports.append(report)
            self._carry_out(decisions)

    def _layer_done(self, number: int, message: LayerDone) -> None:
        """Send other hosts the layers that all workers of this host have finished."""
        reached = self._progress.update(number, message)
        if reached is not None and self.mesh is not None:
            step, tasks = self.supervisor.step, self._progress.tasks
            self.supervisor.rows.being_sent = frozenset(task.row for task in tasks)
            self.mesh.push(step, reached, self._slabs.sums(tasks, self.shards_in(step)), factor_buffers(tasks))

    def _ended(self, number: int) -> None:
        """Close the channel of a worker whose process has ended: the kernel has closed its end."""
        self._connections.drop(number)
        reason = None if number in self._killed else f"died in step {self._server.step}"
        self._killed.discard(number)
        self._connections.send_to_driver(WorkerEnded(number, reason))
        self._carry_out(self.supervisor.ended(number, int(self._memory.doing[number]), time.monotonic()))
        self._memory.doing[number] = -1
        self._duplicates.forget_all_but(self.supervisor.duplicated)

    def _carry_out(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, Compute):
                self._order_task(decision)
            elif isinstance(decision, Use):
                if decision.keep:
                    self._duplicates.keep(decision.task, self._rows_of(decision.task))
            elif isinstance(decision, Compare):
                self._compare(decision)
            elif isinstance(decision, Kill):
                self._kill(decision)
            elif isinstance(decision, Stop):
                raise PeerLostError(decision.reason)

    def _order_task(self, task: Compute) -> None:
        if task.factor_buffer and self.mesh is not None:
            self.mesh.reserve(task.factor_buffer)
        order = ORDER.pack(task.step, task.round, *task.span, task.row, task.factor_buffer)
        self._connections[task.worker].send(order)  # if the worker has ended, the next poll shows it

    def _kill(self, decision: Kill) -> None:
        """Kill a worker that may still write; its channel's EOF will show that it has ended."""
        self._killed.add(decision.worker)
        self._connections.send_to_driver(WorkerLost(decision.worker, decision.reason))
        self._memory.processes.kill(decision.worker)

    def _compare(self, decision: Compare) -> None:
        """Compare a straggler's sums if its weights are intact, which totals of other hosts soon overwrite."""
        oldest = self.supervisor.round - (self.mesh is None)
        if self._memory.step == self._server.step:  # else the driver has written another state
            self._duplicates.compare(decision, self._rows_of(decision.task), oldest)

    def _rows_of(self, task: Compute) -> Array:
        return self._slabs.rows(task, self.shards_in(task.step))

    def _reserve_spare(self) -> None:
        self._memory.reserve_spare()
        if self.mesh is not None:
            self.mesh.reserve(1)  # the next step's factors, while a straggler may still write this step's
