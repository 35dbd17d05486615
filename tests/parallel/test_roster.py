"""Times at which workers are started in empty slots, for given lists of events."""

from itertools import pairwise

import pytest

from distbp.parallel.host.roster import Roster


def failing(roster, slot, times):
    """Let workers end before they have joined, each started as soon as allowed; return the times of starts."""
    now, starts = 0.0, []
    for _ in range(times):
        while roster.due(now) != [slot]:
            now += 0.5
        starts.append(now)
        roster.started(slot)
        roster.ended(slot, now)
    return starts


def test_all_slots_are_filled_at_once():
    roster = Roster(3)
    assert roster.due(0.0) == [0, 1, 2]
    roster.started(1)
    assert (roster.due(0.0), roster.starting, roster.present) == ([0, 2], [1], 0)
    roster.joined(1)
    assert (roster.due(0.0), roster.starting, roster.filled) == ([0, 2], [], [1])


def test_the_slot_of_a_worker_that_had_joined_is_filled_at_once():
    roster = Roster(1)
    for now in range(5):
        roster.started(0)
        roster.joined(0)
        roster.ended(0, float(now))
        assert roster.due(float(now)) == [0]


def test_workers_that_never_join_are_started_less_and_less_often():
    starts = failing(Roster(1), 0, 8)
    pauses = [after - before for before, after in pairwise(starts)]
    assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


@pytest.mark.parametrize(("after", "due"), [(2.0 - 1e-9, []), (2.0, [0])])
def test_the_first_pause_is_two_seconds(after, due):
    roster = Roster(1)
    roster.started(0)
    roster.ended(0, 100.0)
    assert roster.due(100.0 + after) == due


def test_a_worker_that_joins_ends_the_pauses():
    roster = Roster(1)
    failing(roster, 0, 5)
    roster.started(0)
    roster.joined(0)
    roster.ended(0, 1000.0)
    assert roster.due(1000.0) == [0]
    roster.started(0)
    roster.ended(0, 1000.0)
    assert roster.due(1001.9) == []
    assert roster.due(1002.0) == [0]


def test_a_pause_affects_only_its_slot():
    roster = Roster(2)
    roster.started(0)
    roster.ended(0, 0.0)
    assert roster.due(0.0) == [1]


def test_an_end_that_is_reported_repeatedly_counts_once():
    roster = Roster(1)
    roster.started(0)
    for now in (0.0, 1.0, 1.9):
        roster.ended(0, now)
    assert roster.due(2.0) == [0]


def test_workers_that_do_not_join_a_new_server_count_as_failures():
    roster = Roster(2)
    for slot in (0, 1):
        roster.started(slot)
        roster.joined(slot)
    roster.disconnected()
    assert (roster.present, roster.starting, roster.due(0.0)) == (0, [0, 1], [])
    roster.joined(1)
    roster.ended(0, 10.0)
    assert (roster.filled, roster.due(11.9), roster.due(12.0)) == ([1], [], [0])
