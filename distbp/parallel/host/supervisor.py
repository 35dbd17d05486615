"""Scheduling of a step's shards among a host's workers: decisions alone, without processes or clocks.

Events go in as calls, with the time in seconds; decisions come out. So every course of events can be tested as a list.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from distbp.parallel.host.deadlines import Deadlines
from distbp.parallel.host.decisions import Compare, Compute, Decision, Kill, Stop, Use
from distbp.parallel.host.poison import Deaths
from distbp.parallel.host.row_allocation import RowAllocation
from distbp.parallel.step.shards import Span


class _Busy(NamedTuple):
    task: Compute
    since: float


class Supervisor:
    """The states of a host's workers and of the step that they compute.

    A worker is idle, busy with a task, or dying (to be killed, and not known to have ended). A dying worker may still
    write, so no other worker gets its rows until it has ended.
    """

    def __init__(
        self, sums: int, spare: int, shards: int, timeout: float, wait: float, orphans: Iterable[int] = ()
    ) -> None:
        """Give each worker ``sums`` slab rows; the rows from ``spare`` on are for shards that are computed again.

        ``orphans`` are workers of the previous server, which may still write the results that it ordered.
        """
        self.rows = RowAllocation(sums, spare)
        self.deadlines = Deadlines(timeout, wait)
        self.step = -1
        self.round = -1
        """Number of the current attempt at a step; a repeated step gets a new number."""
        self.idle: list[int] = []
        """The numbers of the idle workers, sorted."""
        self._busy: dict[int, _Busy] = {}
        self._dying: dict[int, Compute | None] = {
            worker: Compute(worker, -1, Span(0, shards), spare, -1) for worker in orphans
        }
        self._open: set[Span] = set()
        """Spans of this step without a result."""
        self._waiting: list[Span] = []
        """Spans of this step without a result that no worker is computing."""
        self.done: dict[Span, Compute] = {}
        """The tasks of this step whose results are used."""
        self.duplicated: dict[tuple[int, Span], int] = {}
        """For each round and span that a second worker is still computing, the worker whose result is used."""
        self._deaths = Deaths()

    @property
    def is_complete(self) -> bool:
        """Whether every shard of the step has a result."""
        return not self._open

    @property
    def is_quiet(self) -> bool:
        """Whether no worker is busy."""
        return not self._busy

    @property
    def dying(self) -> list[int]:
        """The killed workers that may still write."""
        return list(self._dying)

    def abandon(self) -> None:
        """Give up the step: its workers finish their tasks, but their reports are ignored."""
        self.round += 1
        self.done, self._open, self._waiting = {}, set(), []
        self.duplicated.clear()
        self._deaths.begin(0)

    def begin(self, step: int, whole: Span, now: float) -> Sequence[Decision]:
        """Begin a step: divide its shards ``whole`` among the idle workers."""
        self.step = step
        self.round += 1
        self.done = {}
        self._waiting = []
        self._open = set()
        self._deaths.begin(whole.stop - whole.first)
        plan = self.rows.first_tasks(whole, self.idle)
        if whole.stop == whole.first:
            return []
        if not plan:
            self._waiting = [whole]
            self._open = {whole}
            return []
        self._open = {span for _, span, _ in plan}
        tasks = [Compute(worker, step, span, row, self.round, self._factor_buffer(span)) for worker, span, row in plan]
        for task in tasks:
            self._busy[task.worker] = _Busy(task, now)
        del self.idle[: len(tasks)]
        return tasks

    def joined(self, worker: int, now: float) -> list[Decision]:
        """Handle a new connection of a worker."""
        self._dying.pop(worker, None)
        insort(self.idle, worker)
        return self._hand_out(now)

    def reported(self, worker: int, number: int, span: Span, now: float) -> list[Decision]:
        """Handle a worker's report on ``span`` in round ``number``; ignore it if that is not its task."""
        busy = self._busy.get(worker)
        if busy is None or busy.task.round != number or busy.task.span != span:
            return []
        del self._busy[worker]
        insort(self.idle, worker)
        decisions: list[Decision] = []
        if number == self.round and span in self._open:
            self._open.discard(span)
            self.done[span] = busy.task
            self.deadlines.measured(busy.task, now - busy.since)
            is_duplicated = bool(self._busy) and self._is_computed(number, span)
            if is_duplicated:
                self.duplicated[number, span] = worker
            decisions.append(Use(busy.task, is_duplicated))
        elif (number, span) in self.duplicated:
            decisions.append(Compare(busy.task, self.duplicated.pop((number, span))))
        if self._waiting:
            decisions += self._hand_out(now)
        if self._deaths:
            decisions += self._stop_if_poisoned()
        return decisions

    def ended(self, worker: int, shard: int, now: float) -> list[Decision]:
        """Handle the end of a worker's process, which was computing ``shard`` (-1 for none)."""
        if worker in self._dying:
            del self._dying[worker]
            return self._hand_out(now)
        task = self._drop(worker)
        if task is not None and task.round == self.round and shard in range(*task.span):
            self._deaths.add(shard, task.span.first)
        return self._stop_if_poisoned() or self._hand_out(now)

    def tick(self, now: float, silence: Mapping[int, float]) -> list[Decision]:
        """Handle the passage of time; ``silence`` has the seconds since each worker's last heartbeat."""
        decisions: list[Decision] = []
        for worker, seconds in silence.items():
            reason = self._loss_reason(worker, seconds, now)
            if reason is not None and worker not in self._dying:
                self._dying[worker] = self._drop(worker)
                decisions.append(Kill(worker, reason))
        decisions += self._hand_out(now)
        decisions += self._back_up_stragglers(now)
        return decisions + self._stop_if_stalled(now)

    def _loss_reason(self, worker: int, silence: float, now: float) -> str | None:
        reason = self.deadlines.silence_reason(self.step, silence)
        busy = self._busy.get(worker)
        if reason is None and busy is not None:
            reason = self.deadlines.stuck_reason(busy.task, now - busy.since)
        return reason

    def _stop_if_stalled(self, now: float) -> list[Decision]:
        """Stop the run if shards have waited for too long and no worker is busy."""
        if self.is_complete or self._busy:
            self.deadlines.not_stalled()
            return []
        reason = self.deadlines.stall_reason(self.step, now, bool(self.idle))
        return [] if reason is None else [Stop(reason)]

    def _stop_if_poisoned(self) -> list[Decision]:
        reason = self._deaths.poisoned(self.step, bool(self.done))
        return [] if reason is None else [Stop(reason)]

    def _is_computed(self, number: int, span: Span) -> bool:
        """Return whether a busy worker computes this span in this round."""
        return any((busy.task.round, busy.task.span) == (number, span) for busy in self._busy.values())

    def _drop(self, worker: int) -> Compute | None:
        """Remove a worker and return its task; the span waits for another worker unless one is computing it already."""
        if worker in self.idle:
            self.idle.remove(worker)
        busy = self._busy.pop(worker, None)
        if busy is None:
            return None
        number, span = busy.task.round, busy.task.span
        self.duplicated.pop((number, span), None)
        if number == self.round and span in self._open and not self._is_computed(number, span):
            self._waiting.append(span)
        return busy.task

    def _hand_out(self, now: float) -> list[Decision]:
        """Give waiting spans to idle workers."""
        decisions: list[Decision] = []
        for span in list(self._waiting):
            task = self._task_for(span)
            if task is not None:
                self._waiting.remove(span)
                decisions.append(self._start(task, now))
        return decisions

    def _back_up_stragglers(self, now: float) -> list[Decision]:
        """Give the spans of stragglers to idle workers too, as backup tasks; the first result is used."""
        decisions: list[Decision] = []
        computing = Counter(busy.task.span for busy in self._busy.values() if busy.task.round == self.round)
        for busy in list(self._busy.values()):
            span = busy.task.span
            if busy.task.round != self.round or span not in self._open or computing[span] > 1 or not self.idle:
                continue
            if self.deadlines.is_straggler(busy.task, now - busy.since):
                task = self._task_for(span)
                if task is not None:
                    decisions.append(self._start(task, now))
        return decisions

    def _start(self, task: Compute, now: float) -> Compute:
        self.idle.remove(task.worker)
        self._busy[task.worker] = _Busy(task, now)
        return task

    def _writing(self) -> list[Compute]:
        """Return the tasks whose workers may still write."""
        tasks = [busy.task for busy in self._busy.values()]
        return tasks + [task for task in self._dying.values() if task is not None]

    def _task_for(self, span: Span) -> Compute | None:
        """Return a task for an idle worker with rows that it may write; None if there is none."""
        chosen = self.rows.later_task(span, self.idle, self.done.values(), self._writing())
        if chosen is None:
            return None
        worker, row = chosen
        return Compute(worker, self.step, span, row, self.round, self._factor_buffer(span))

    def _factor_buffer(self, span: Span) -> int:
        """Return the first factor buffer of these shards that no straggler of another round may still write."""
        if not self._busy and not self._dying:
            return 0
        others = [task for task in self._writing() if task.round != self.round]
        taken = {task.factor_buffer for task in others if task.span.first < span.stop and span.first < task.span.stop}
        return next(number for number in range(len(taken) + 1) if number not in taken)
