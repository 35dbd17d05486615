"""Who computes which shards of a step, who is lost and who is late: decisions alone, without processes or clocks.

Events go in as calls, with the time in seconds; decisions come out. So every course of events can be tested as a list.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from distbp.parallel.host.decisions import Compare, Compute, Decision, Lose, Stop, Use
from distbp.parallel.step.shards import Span, cut

MOST_DEATHS = 3
"""Workers that a shard may bring down in one step before it counts as poisoned."""
_LATE = 4.0
"""How many times the others' time a worker may take before somebody idle computes its shards too."""
_LEAST_LATE = 0.25
"""Seconds below which nobody is late: the machine may have had something else to do."""
_STUCK = 50.0
"""How many times the others' time, and at least the timeout, a worker may take before it counts as lost."""
_STUCK_AT_FIRST = 60.0
"""The same in timeouts, as long as nobody knows how long a shard takes."""


class _Busy(NamedTuple):
    task: Compute
    since: float


class Supervisor:
    """The state of a run's workers.

    A worker is idle, busy with a task, or dying (to be ended, but not seen to have ended). A dying worker may still
    write, so its rows are nobody else's until it has left.
    """

    def __init__(
        self, sums: int, spare: int, shards: int, timeout: float, wait: float, silent: Iterable[int] = ()
    ) -> None:
        """Give ``sums`` rows to each worker; those from number ``spare`` on are for what is computed again.

        Workers that are ``silent`` of may still be writing what a server before this one asked them for.
        """
        self._sums, self._spare = sums, spare
        self._timeout, self._wait = timeout, wait
        self.step = -1
        self.round = -1
        """Counted up with every step that is begun, also with one that is begun again."""
        self.idle: list[int] = []
        self._busy: dict[int, _Busy] = {}
        self._dying: dict[int, Compute | None] = {
            worker: Compute(worker, -1, Span(0, shards), spare, -1) for worker in silent
        }
        self._shards = 0
        self._open: set[Span] = set()
        self._waiting: list[Span] = []
        self.done: dict[Span, Compute] = {}
        """The tasks of this step whose answers count."""
        self.contested: dict[tuple[int, Span], int] = {}
        """Rounds and shards that somebody is still computing a second time, with the worker whose answer was used."""
        self._deaths: Counter[int] = Counter()
        self._seconds_per_shard = 0.0
        self._stalled_since: float | None = None
        self.read: frozenset[int] = frozenset()
        """Rows of this step that somebody still reads: what is computed again goes elsewhere."""
        self.has_spare: Callable[[], bool] = lambda: True
        """Whether there is memory for the spare rows; asked only where nothing else is left."""
        self._plans: dict[tuple[Span, tuple[int, ...]], list[tuple[int, Span, int]]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every shard of the step has been computed."""
        return not self._open

    @property
    def is_quiet(self) -> bool:
        """Whether nobody's answer is expected."""
        return not self._busy

    def abandon(self) -> None:
        """Let the step come to nothing: who still computes goes on, and its answer will count for nothing."""
        self.round += 1
        self.done, self._open, self._waiting = {}, set(), []
        self.contested.clear()
        self._deaths.clear()

    @property
    def dying(self) -> list[int]:
        """The workers that may still write although their answers do not count."""
        return list(self._dying)

    def begin(self, step: int, whole: Span, now: float) -> Sequence[Decision]:
        """Begin a step: cut the shards ``whole`` among those who are idle."""
        shards = whole.stop - whole.first
        self.step, self._shards = step, shards
        self.round += 1
        self.done = {}
        self.read = frozenset()
        if self._deaths:
            self._deaths.clear()
        if not shards:
            self._open, self._waiting = set(), []
            return []
        key = whole, tuple(self.idle)
        plan = self._plans.get(key)
        if plan is None:
            spans = [Span(whole.first + part.first, whole.first + part.stop) for part in cut(shards, len(self.idle))]
            plan = self._plans[key] = [
                (worker, span, worker * self._sums) for worker, span in zip(self.idle, spans, strict=False)
            ]
        if not plan:
            self._waiting = [whole]
            self._open = {self._waiting[0]}
            return []
        self._waiting = []
        self._open = {span for _, span, _ in plan}
        tasks = [Compute(worker, step, span, row, self.round, self._place(span)) for worker, span, row in plan]
        for task in tasks:
            self._busy[task.worker] = _Busy(task, now)
        del self.idle[: len(tasks)]
        return tasks

    def joined(self, worker: int, now: float) -> list[Decision]:
        """Take in a worker that has just come."""
        self._dying.pop(worker, None)
        insort(self.idle, worker)
        return self._hand_out(now)

    def reported(self, worker: int, number: int, held: Span, now: float) -> list[Decision]:
        """Take in a worker's answer in round ``number``; one that was not asked for counts for nothing."""
        busy = self._busy.get(worker)
        if busy is None or busy.task.round != number or busy.task.held != held:
            return []
        del self._busy[worker]
        insort(self.idle, worker)
        decisions: list[Decision] = []
        if number == self.round and held in self._open:
            self._open.discard(held)
            self.done[held] = busy.task
            self._seconds_per_shard = (now - busy.since) / (held.stop - held.first)
            twin = bool(self._busy) and any(
                other.task.round == number and other.task.held == held for other in self._busy.values()
            )
            if twin:
                self.contested[number, held] = worker
            decisions.append(Use(busy.task, twin))
        elif (number, held) in self.contested:
            decisions.append(Compare(busy.task, self.contested.pop((number, held))))
        if self._waiting:
            decisions += self._hand_out(now)
        if self._deaths:
            decisions += self._poison()
        return decisions

    def left(self, worker: int, doing: int, now: float) -> list[Decision]:
        """Take in that a worker's process has ended while it was computing shard ``doing`` (-1 for none)."""
        if worker in self._dying:
            del self._dying[worker]
            return self._hand_out(now)
        task = self._drop(worker)
        if task is not None and task.round == self.round and doing in range(*task.held):
            self._deaths[doing] += 1
            if doing > task.held.first:
                self._deaths[-1] += 1  # it had computed another shard of this step before
        return self._poison() or self._hand_out(now)

    def tick(self, now: float, silent: Mapping[int, float]) -> list[Decision]:
        """Look at the time; ``silent`` says for how many seconds each worker has shown no life."""
        decisions: list[Decision] = []
        for worker, seconds in silent.items():
            why = self._why_lost(worker, seconds, now)
            if why is not None and worker not in self._dying:
                self._dying[worker] = self._drop(worker)
                decisions.append(Lose(worker, why))
        decisions += self._hand_out(now)
        decisions += self._repeat_late(now)
        return decisions + self._give_up(now)

    def _give_up(self, now: float) -> list[Decision]:
        """Stop if shards have waited for too long and nobody computes."""
        if self.is_complete or self._busy:
            self._stalled_since = None
            return []
        if self._stalled_since is None:
            self._stalled_since = now
        if now - self._stalled_since <= self._wait:
            return []
        who = "no worker that can compute the missing shards" if self.idle else "no worker is left and none"
        return [Stop(f"{who} came for {self._wait:g} s in step {self.step} (--wait)")]

    def _why_lost(self, worker: int, silence: float, now: float) -> str | None:
        if silence > self._timeout:
            return f"no answer for {self._timeout:g} s in step {self.step} (--timeout)"
        busy = self._busy.get(worker)
        if busy is None:
            return None
        usual = self._seconds_per_shard * (busy.task.held.stop - busy.task.held.first)
        most = max(self._timeout, _STUCK * usual) if usual else _STUCK_AT_FIRST * self._timeout
        if now - busy.since <= most:
            return None
        return f"no result for {now - busy.since:.0f} s in step {busy.task.step}, though it shows life"

    def _drop(self, worker: int) -> Compute | None:
        """Forget a worker; what it was computing for this step waits, unless somebody else computes it too."""
        if worker in self.idle:
            self.idle.remove(worker)
        busy = self._busy.pop(worker, None)
        if busy is None:
            return None
        number, held = busy.task.round, busy.task.held
        self.contested.pop((number, held), None)
        twins = [other for other in self._busy.values() if (other.task.round, other.task.held) == (number, held)]
        if number == self.round and held in self._open and not twins:
            self._waiting.append(held)
        return busy.task

    def _hand_out(self, now: float) -> list[Decision]:
        """Give the shards that wait to those who are idle."""
        decisions: list[Decision] = []
        for held in list(self._waiting):
            task = self._task_for(held)
            if task is not None:
                self._waiting.remove(held)
                decisions.append(self._start(task, now))
        return decisions

    def _repeat_late(self, now: float) -> list[Decision]:
        """Let somebody idle compute what another one is late with."""
        decisions: list[Decision] = []
        computing = Counter(busy.task.held for busy in self._busy.values() if busy.task.round == self.round)
        for busy in list(self._busy.values()):
            held = busy.task.held
            if busy.task.round != self.round or held not in self._open or computing[held] > 1 or not self.idle:
                continue
            usual = self._seconds_per_shard * (held.stop - held.first)
            if usual and now - busy.since > max(_LEAST_LATE, _LATE * usual):
                task = self._task_for(held)
                if task is not None:
                    decisions.append(self._start(task, now))
        return decisions

    def _start(self, task: Compute, now: float) -> Compute:
        self.idle.remove(task.worker)
        self._busy[task.worker] = _Busy(task, now)
        return task

    def _task_for(self, held: Span) -> Compute | None:
        """Return who could compute these shards now, and into which rows; None if nobody can."""
        taken = [busy.task for busy in self._busy.values()] + [task for task in self._dying.values() if task]
        taken += self.done.values()
        for worker in self.idle:
            own = worker * self._sums
            if own not in self.read and all(task.row != own for task in self.done.values()):
                return Compute(worker, self.step, held, own, self.round, self._place(held))
        spare = range(self._spare + held.first, self._spare + held.stop)
        free = all(task.row + task.held.stop - task.held.first <= spare.start or task.row >= spare.stop
                   for task in taken if task.row >= self._spare)  # fmt: skip
        if not self.idle or not free or not self.has_spare():
            return None
        return Compute(self.idle[0], self.step, held, spare.start, self.round, self._place(held))

    def _place(self, held: Span) -> int:
        """Return the first place for factors where nobody may still be writing those of these shards' other rounds."""
        if not self._busy and not self._dying:
            return 0
        others = [task for task in (*(busy.task for busy in self._busy.values()), *self._dying.values())
                  if task is not None and task.round != self.round]  # fmt: skip
        taken = {task.place for task in others if task.held.first < held.stop and held.first < task.held.stop}
        return next(place for place in range(len(taken) + 1) if place not in taken)

    def _poison(self) -> list[Decision]:
        """Stop if a shard brings down whoever computes it, while other shards of the step can be computed."""
        for shard, deaths in self._deaths.items():
            if shard >= 0 and deaths >= MOST_DEATHS and (self.done or self._deaths[-1] or self._shards == 1):
                return [Stop(poisoned(Span(shard, shard + 1), self.step, deaths))]
        return []


def poisoned(held: Span, step: int, deaths: int) -> str:
    """Say that workers died one after the other over the same shards."""
    names = f"shard {held.first}" if held.stop == held.first + 1 else f"shards {held.first} to {held.stop - 1}"
    return (
        f"{names} of step {step} brought down {deaths} workers, each while computing "
        f"{'it' if held.stop == held.first + 1 else 'them'}: look at the rows, and at the memory that one shard needs"
    )
