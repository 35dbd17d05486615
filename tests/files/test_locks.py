"""Lock files: decisions with a simulated clock, then two processes, then two hosts."""

import json
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from processes import HANG_SECONDS, join, start_program, wait_until

from distbp.errors import HeldError, LostError, RunError
from distbp.files.locks import acquire, holder_of, locked
from distbp.files.locks.holders import (
    DEAD_AFTER_SECONDS,
    POLL_SECONDS,
    Holder,
    HolderState,
    Watch,
    state_of,
    this_process,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / ".lock"


@pytest.fixture(autouse=True)
def folder(path):
    path.parent.mkdir()


def take(path, told=None, **given):
    return acquire(path, path.parent, pytest.fail if told is None else told.append, **given)


def dead_process():
    """Return the id and the start time of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    words = Path(f"/proc/{child.pid}/stat").read_bytes().rpartition(b")")[2].split()
    child.communicate()
    return child.pid, int(words[19])


def elsewhere(**changed):
    """Return a holder on another host whose process id is also in use on this host."""
    return replace(this_process(), host="gpu-7", boot="b", namespace="n", pid=os.getpid(), token="theirs", **changed)


def fast(monkeypatch, seconds=0.4):
    monkeypatch.setattr("distbp.files.locks.lock.POLL_SECONDS", 0.02)
    monkeypatch.setattr("distbp.files.locks.holders.DEAD_AFTER_SECONDS", seconds)


@pytest.fixture(scope="module")
def another():
    """Return the id of another live process (not the parent: in a container there may be none)."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, HolderState.DEAD),  # this process, but not with its token
        ({"pid": "another's", "started": None}, HolderState.ALIVE),  # a system that does not report start times
        ({"pid": "another's", "started": 1}, HolderState.DEAD),  # the number is now that of another process
        ({"host": "other"}, HolderState.UNKNOWN),
        ({"boot": "other"}, HolderState.UNKNOWN),
        ({"namespace": "pid:[1]"}, HolderState.UNKNOWN),
    ],
)
def test_a_single_look_at_a_holder(changed, expected, another):
    changed = {name: another if value == "another's" else value for name, value in changed.items()}
    assert state_of(replace(this_process(), token="t", **changed).as_bytes()) is expected


def test_a_holder_that_has_ended_is_gone():
    pid, started = dead_process()
    assert state_of(replace(this_process(), pid=pid, started=started, token="t").as_bytes()) is HolderState.DEAD


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"a"', b"[" * 4000, b"\xff", json.dumps({"host": 3}).encode()]
    + [elsewhere().as_bytes().replace(f'"pid": {os.getpid()}'.encode(), f'"pid": {pid}'.encode()) for pid in (-1, 0)],
)
def test_an_unreadable_lock_has_an_unknown_holder(content):
    assert Holder.parse(content) is None
    assert state_of(content) is HolderState.UNKNOWN


def test_control_characters_in_a_lock_do_not_reach_the_terminal():
    assert (
        str(Holder.parse(elsewhere().as_bytes().replace(b"gpu-7", b"a\\u001b[2J"))) == f"process {os.getpid()} on a[2J"
    )


def test_a_remote_holder_without_a_heartbeat_for_a_minute_is_dead():
    watch, content, looks = Watch(), elsewhere().as_bytes(), 0
    while watch.observe(content, looks * POLL_SECONDS) is HolderState.UNKNOWN:
        looks += 1
    assert looks * POLL_SECONDS == DEAD_AFTER_SECONDS


def test_a_late_heartbeat_shows_that_the_holder_is_alive():
    watch = Watch()
    for observe in range(int(DEAD_AFTER_SECONDS / POLL_SECONDS)):
        assert watch.observe(elsewhere().as_bytes(), observe * POLL_SECONDS) is HolderState.UNKNOWN
    assert watch.observe(elsewhere(beat=1).as_bytes(), DEAD_AFTER_SECONDS) is HolderState.ALIVE
    assert watch.observe(elsewhere(beat=1).as_bytes(), DEAD_AFTER_SECONDS + 1) is HolderState.UNKNOWN


def test_time_in_which_the_watcher_was_stopped_does_not_count():
    watch = Watch()
    assert watch.observe(elsewhere().as_bytes(), 0.0) is HolderState.UNKNOWN
    assert watch.observe(elsewhere().as_bytes(), 1000.0) is HolderState.UNKNOWN


def test_a_lock_exists_while_it_is_held(path):
    with locked(path, path.parent, pytest.fail) as lock:
        assert holder_of(path).is_local
        lock.check()
        with pytest.raises(HeldError, match=f"is in use: another process trains there .process {os.getpid()} on"):
            take(path)
        lock.check()
    assert list(path.parent.iterdir()) == []


def test_the_lock_of_a_killed_process_is_broken_at_once(path):
    pid, started = dead_process()
    path.write_bytes(replace(this_process(), pid=pid, started=started, token="old").as_bytes())
    lock = take(path)
    lock.check()
    assert [each.name for each in path.parent.iterdir()] == [".lock"]
    lock.release()


def test_a_remote_lock_is_broken_only_without_a_heartbeat(path, monkeypatch):
    fast(monkeypatch, seconds=HANG_SECONDS)
    stop, told = threading.Event(), []

    def beat():
        number = 0
        while not stop.wait(0.05):
            number += 1
            with path.open("r+b") as file:
                file.write(elsewhere(beat=number).as_bytes())

    path.write_bytes(elsewhere().as_bytes())
    beating = threading.Thread(target=beat)
    beating.start()
    with pytest.raises(HeldError, match=r"process \d+ on gpu-7.; .*--take-over if that host is gone for good"):
        take(path, told)
    stop.set()
    join(beating)
    assert "is locked by process" in told[0]
    fast(monkeypatch)
    take(path, told).release()
    assert len(told) == 2
    assert not path.exists()


def test_the_holder_notices_that_its_lock_was_taken_over_by_hand(path):
    old = take(path)
    new = take(path, take_over=True)
    new.check()
    with pytest.raises(LostError, match=r"was taken over by process \d+ on .*: this process ends and writes nothing"):
        old.check()
    assert old.is_lost
    content = path.read_bytes()
    with pytest.raises(LostError):
        old.beat()
    old.release()
    assert path.read_bytes() == content
    new.release()


@pytest.mark.parametrize("removed", ["lock", "folder"])
def test_the_holder_notices_that_its_lock_was_removed(removed, path):
    lock = take(path)
    path.unlink()
    if removed == "folder":
        path.parent.rmdir()
    with pytest.raises(LostError, match="it was removed" if removed == "folder" else "its lock was removed"):
        lock.beat()
    assert lock.is_lost
    lock.release()


def test_a_holder_sends_heartbeats(path, monkeypatch):
    monkeypatch.setattr("distbp.files.locks.lock._HEARTBEAT_SECONDS", 0.01)
    lock = take(path)
    beats = set()
    wait_until(lambda: beats.add(Holder.parse(path.read_bytes()).beat) or len(beats) >= 3)
    lock.release()


@pytest.mark.parametrize("what", ["fifo", "empty", "folder"])
def test_a_file_that_is_not_a_lock_is_watched_and_replaced_or_named(what, path, monkeypatch):
    fast(monkeypatch)
    {"fifo": lambda: os.mkfifo(path), "empty": path.touch, "folder": path.mkdir}[what]()
    told = []
    with (
        pytest.raises(RunError, match="cannot be replaced: Is a directory; remove it")
        if what == "folder"
        else nullcontext()
    ):
        take(path, told).release()
        assert list(path.parent.iterdir()) == []
    assert "another process" in told[0]


def test_a_killed_breaker_does_not_keep_others_from_breaking_a_lock(path):
    pid, started = dead_process()
    dead = replace(this_process(), pid=pid, started=started)
    path.write_bytes(replace(dead, token="old").as_bytes())
    path.with_name(".lock.old.broken").write_bytes(replace(dead, token="breaker").as_bytes())
    take(path).release()
    assert list(path.parent.iterdir()) == []


def test_a_read_only_folder_is_reported(path):
    path.parent.rmdir()
    with pytest.raises(RunError, match="cannot be written to: No such file"):
        take(path)


def test_one_of_many_concurrent_breakers_gets_the_lock(path):
    pid, started = dead_process()
    path.write_bytes(replace(this_process(), pid=pid, started=started, token="old").as_bytes())
    others = [start_program("breaks_lock", path, stdin=subprocess.PIPE) for _ in range(6)]
    for other in others:
        other.stdin.write("\n")
        other.stdin.flush()
    said = [other.stdout.readline().strip() for other in others]
    for other in others:
        other.communicate()
    assert sorted(said) == ["held", *["refused"] * 5]
    assert [each.name for each in path.parent.iterdir()] == []
