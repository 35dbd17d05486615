"""Decisions of the supervisor for given lists of events and times."""

import random

import pytest

from distbp.parallel.host.decisions import Compare, Compute, Kill, Stop, Use
from distbp.parallel.host.supervisor import Supervisor
from distbp.parallel.step.shards import Span

SUMS, SPARE, SHARDS = 2, 100, 4


def supervisor(workers, **settings):
    made = Supervisor(SUMS, SPARE, SHARDS, **{"timeout": 10.0, "wait": 60.0, **settings})
    for number in range(workers):
        assert made.joined(number, 0.0) == []
    return made


def test_a_step_is_divided_among_the_present_workers():
    made = supervisor(2)
    assert made.begin(0, Span(0, 4), 0.0) == [Compute(0, 0, Span(0, 2), 0), Compute(1, 0, Span(2, 4), 2)]
    assert not made.is_complete
    (first,) = made.reported(1, 0, Span(2, 4), 0.1)
    assert first == Use(Compute(1, 0, Span(2, 4), 2), keep=False)
    made.reported(0, 0, Span(0, 2), 0.1)
    assert made.is_complete
    assert sorted(made.done) == [Span(0, 2), Span(2, 4)]


def test_the_shards_of_a_lost_worker_go_to_the_next_idle_one():
    made = supervisor(2)
    made.begin(0, Span(0, 4), 0.0)
    assert made.ended(0, 0, 0.1) == []  # no worker is idle
    use, again = made.reported(1, 0, Span(2, 4), 0.2)
    assert isinstance(use, Use)
    # its own rows contain the sums that it has computed
    assert again == Compute(1, 0, Span(0, 2), SPARE)
    made.reported(1, 0, Span(0, 2), 0.3)
    assert made.is_complete


def test_the_shards_of_the_only_worker_go_to_its_replacement():
    made = supervisor(1)
    made.begin(0, Span(0, 4), 0.0)
    assert made.ended(0, -1, 0.1) == []
    assert made.joined(0, 2.0) == [Compute(0, 0, Span(0, 4), 0)]


def test_a_worker_that_joins_in_a_step_computes_from_the_next_one_on():
    made = supervisor(1)
    made.begin(0, Span(0, 4), 0.0)
    assert made.joined(1, 0.1) == []
    made.reported(0, 0, Span(0, 4), 0.2)
    assert [task.worker for task in made.begin(1, Span(0, 4), 0.3)] == [0, 1]


def test_a_silent_worker_is_lost_and_its_late_answer_ignored():
    made = supervisor(2)
    made.begin(0, Span(0, 4), 0.0)
    made.reported(1, 0, Span(2, 4), 0.1)
    decisions = made.tick(10.2, {0: 10.1, 1: 0.1})
    assert isinstance(decisions[0], Kill)
    assert decisions[0].worker == 0
    assert "no heartbeat for 10 s in step 0" in decisions[0].reason
    assert Compute(1, 0, Span(0, 2), SPARE) in decisions
    assert made.reported(0, 0, Span(0, 2), 10.3) == []
    assert not made.is_complete
    made.reported(1, 0, Span(0, 2), 10.4)
    assert made.is_complete
    assert made.done[Span(0, 2)].worker == 1
    assert made.ended(0, 0, 10.5) == []
    assert made.tick(10.6, {1: 0.1}) == []


def test_a_late_shard_gets_a_backup_task_and_the_first_answer_wins():
    made = supervisor(2)
    made.begin(0, Span(0, 4), 0.0)
    made.reported(1, 0, Span(2, 4), 0.1)
    assert made.tick(0.2, {}) == []
    (again,) = made.tick(0.5, {})
    assert again == Compute(1, 0, Span(0, 2), SPARE)
    assert made.tick(0.6, {}) == []  # no second backup task
    (use,) = made.reported(1, 0, Span(0, 2), 0.7)
    assert use == Use(again, keep=True)
    assert made.is_complete
    # the late worker is busy with the old step and gets no new task
    assert [task.worker for task in made.begin(1, Span(0, 4), 0.8)] == [1]
    (compare,) = made.reported(0, 0, Span(0, 2), 0.9)
    assert compare == Compare(Compute(0, 0, Span(0, 2), 0), first=1)
    assert made.duplicated == {}


@pytest.mark.parametrize(("since", "is_late"), [(0.25, False), (0.2501, True)])
def test_a_short_step_is_late_only_after_a_quarter_of_a_second(since, is_late):
    """A busy machine may pause a process for longer than such a step."""
    made = supervisor(2)
    made.begin(0, Span(0, 4), 0.0)
    made.reported(1, 0, Span(2, 4), 0.001)
    assert bool(made.tick(since, {})) == is_late


def test_a_late_worker_may_finish_before_its_backup_task():
    made = supervisor(2)
    made.begin(0, Span(0, 4), 0.0)
    made.reported(1, 0, Span(2, 4), 0.1)
    made.tick(0.5, {})
    (use,) = made.reported(0, 0, Span(0, 2), 0.6)
    assert use.task.worker == 0
    assert use.keep
    assert made.is_complete
    assert isinstance(made.reported(1, 0, Span(0, 2), 0.7)[0], Compare)


def test_spare_rows_that_a_worker_may_still_write_are_not_reused():
    made = supervisor(2)
    made.begin(0, Span(0, 4), 0.0)
    made.reported(1, 0, Span(2, 4), 0.1)
    made.tick(0.5, {})  # worker 1 computes shards 0 and 1 in the spare rows
    made.tick(20.0, {1: 20.0})  # and sends no heartbeat any more
    assert made.ended(0, 0, 20.1) == []
    # slot 0 is filled again: its own rows are free, but worker 1 may still write the spare rows
    assert made.joined(0, 21.0) == [Compute(0, 0, Span(0, 2), 0)]


def test_workers_of_the_previous_server_may_still_write_spare_rows():
    made = Supervisor(SUMS, SPARE, SHARDS, 10.0, 60.0, orphans=[0, 1])
    made.joined(0, 0.0)
    made.joined(2, 0.0)
    made.begin(5, Span(0, 4), 0.0)
    made.ended(2, 2, 0.1)
    assert len(made.reported(0, made.round, Span(0, 2), 0.2)) == 1  # the spare rows stay reserved until worker 1 joins
    assert made.joined(1, 0.3) == [Compute(1, 5, Span(2, 4), 2)]


def test_a_shard_that_kills_three_workers_stops_the_run():
    made = supervisor(2)
    made.begin(7, Span(0, 4), 0.0)
    made.reported(1, made.round, Span(2, 4), 0.1)
    made.ended(0, 1, 0.2)  # worker 1 takes over
    assert made.ended(1, 1, 0.3) == []
    assert made.joined(0, 1.0) == [Compute(0, 7, Span(0, 2), 0)]
    (stop,) = made.ended(0, 1, 1.1)
    assert isinstance(stop, Stop)
    assert "3 workers died one after the other while they computed shard 1 of step 7" in stop.reason


@pytest.mark.parametrize("doing", [-1, 3])
def test_deaths_of_workers_that_computed_another_shard_do_not_count(doing):
    made = supervisor(1)
    made.begin(7, Span(0, 4), 0.0)
    for death in range(10):
        assert made.ended(0, doing if death < 2 else -1, death) == []
        assert made.joined(0, death + 0.5) == [Compute(0, 7, Span(0, 4), 0)]


def test_deaths_do_not_stop_the_run_if_no_other_shard_is_computed():
    made = supervisor(1)
    made.begin(7, Span(0, 4), 0.0)
    for death in range(5):
        assert made.ended(0, 0, death) == []
        made.joined(0, death + 0.5)


def test_deaths_of_an_earlier_step_are_forgotten():
    made = supervisor(1)
    for step in range(5):
        made.begin(step, Span(0, 4), step)
        assert made.ended(0, 2, step) == []
        made.joined(0, step)
        made.reported(0, step, Span(0, 4), step)
        assert made.is_complete


def test_a_run_without_workers_ends_after_the_wait():
    made = supervisor(1)
    made.begin(3, Span(0, 4), 0.0)
    made.ended(0, 0, 5.0)
    assert made.tick(5.0, {}) == []
    assert made.tick(64.0, {}) == []
    (stop,) = made.tick(66.0, {})
    assert isinstance(stop, Stop)
    assert "no worker is left, and none has joined for 60 s in step 3" in stop.reason


def test_a_worker_with_heartbeats_that_never_finishes_is_lost():
    made = supervisor(2)
    made.begin(0, Span(0, 4), 0.0)
    made.reported(1, 0, Span(2, 4), 0.1)
    assert not any(isinstance(decision, Kill) for decision in made.tick(10.0, {0: 0.0, 1: 0.0}))
    decisions = made.tick(10.2, {0: 0.0, 1: 0.0})
    assert [decision.worker for decision in decisions if isinstance(decision, Kill)] == [0]


class RandomEvents:
    """A random sequence of events, with checks of every decision."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.slots, self.shards = self.chance.randint(1, 4), self.chance.randint(1, 6)
        self.made = Supervisor(SUMS, SPARE, self.shards, timeout=10.0, wait=1e9)
        self.tasks: dict[int, Compute] = {}  # task of each live process, including those that will be killed
        self.alive: set[int] = set()
        self.lost: set[int] = set()
        self.now = 0.0

    def do(self, decisions):
        for decision in decisions:
            if isinstance(decision, Compute):
                self.check_rows(decision)
                self.tasks[decision.worker] = decision
            elif isinstance(decision, Kill):
                self.lost.add(decision.worker)
            else:
                assert not isinstance(decision, Stop)

    def check_rows(self, task):
        """Check that no other task writes the rows of this one and that they contain no needed sums."""
        assert task.worker in self.alive - self.lost
        assert task.row == task.worker * SUMS or task.row >= SPARE
        rows = set(range(task.row, task.row + task.span.stop - task.span.first)) if task.row >= SPARE else {task.row}
        others = [other for worker, other in self.tasks.items() if worker != task.worker]
        for other in [*others, *(used for used in self.made.done.values() if used.round == self.made.round)]:
            size = other.span.stop - other.span.first if other.row >= SPARE else 1
            assert rows.isdisjoint(range(other.row, other.row + size))
        for other in others:
            if other.round != task.round and set(range(*other.span)) & set(range(*task.span)):
                assert other.factor_buffer != task.factor_buffer
        assert task.factor_buffer < self.slots

    def event(self):
        self.now += self.chance.random()
        number = self.chance.randrange(self.slots)
        kind = self.chance.choices(["join", "report", "leave", "tick"], [0.3, 0.45, 0.07, 0.1])[0]
        if kind == "join" and number not in self.alive:
            self.alive.add(number)
            self.do(self.made.joined(number, self.now))
        elif kind == "report" and number in self.tasks:
            task = self.tasks.pop(number)
            self.do(self.made.reported(number, task.round, task.span, self.now))
        elif kind == "leave" and number in self.alive:
            self.alive.discard(number)
            self.lost.discard(number)
            self.tasks.pop(number, None)
            self.do(self.made.ended(number, -1, self.now))
        elif kind == "tick":
            silent = {each: self.chance.choice([0.0, 0.0, 11.0]) for each in self.alive - self.lost}
            self.do(self.made.tick(self.now, silent))


@pytest.mark.parametrize("seed", range(200))
def test_random_events_lose_no_shard_and_share_no_rows(seed):
    course = RandomEvents(seed)
    for step in range(6):
        if course.chance.random() < 0.3:  # abandon the first attempt
            course.do(course.made.begin(step, Span(0, course.shards), course.now))
            for _ in range(course.chance.randrange(5)):
                course.event()
            course.made.abandon()
        course.do(course.made.begin(step, Span(0, course.shards), course.now))
        for _ in range(2000):
            if course.made.is_complete:
                break
            course.event()
        assert course.made.is_complete, "the step never ended"
        covered = sorted(shard for held in course.made.done for shard in range(*held))
        assert covered == list(range(course.shards))


def test_an_answer_for_an_abandoned_attempt_is_ignored_in_the_next():
    made = supervisor(2)
    made.begin(5, Span(0, 4), 0.0)
    first = made.round
    made.reported(1, first, Span(2, 4), 0.1)
    made.abandon()
    assert made.tick(1.0, {}) == []  # no backup task for an abandoned step
    assert made.begin(5, Span(2, 4), 1.1) == [Compute(1, 5, Span(2, 4), 2, made.round)]
    assert made.reported(0, first, Span(0, 2), 1.2) == []
    assert not made.is_complete
    assert made.idle == [0]
    made.reported(1, made.round, Span(2, 4), 1.3)
    assert made.done == {Span(2, 4): Compute(1, 5, Span(2, 4), 2, made.round)}


def test_factor_buffers_that_a_late_worker_may_still_write_are_not_reused():
    made = supervisor(3)
    made.begin(0, Span(0, 3), 0.0)
    made.reported(0, 0, Span(0, 1), 0.1)
    made.reported(1, 0, Span(1, 2), 0.1)
    made.tick(0.6, {})
    made.reported(0, 0, Span(2, 3), 0.7)  # the backup task of worker 2, which is late
    assert [(task.span, task.factor_buffer) for task in made.begin(1, Span(0, 3), 0.8)] == [
        (Span(0, 2), 0),
        (Span(2, 3), 1),
    ]
    made.reported(0, 1, Span(0, 2), 0.9)
    made.tick(1.9, {})
    made.reported(0, 1, Span(2, 3), 2.0)  # the backup task of worker 1, which is now late, too
    assert [(task.span, task.factor_buffer) for task in made.begin(2, Span(0, 3), 2.1)] == [(Span(0, 3), 2)]
