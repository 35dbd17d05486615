"""Steps of a server whose workers die, freeze, are late, join and leave, as planned by (worker, step, shard)."""

import signal
import socket
import struct

import psutil
import pytest
from parallel.hosts import Host, config
from processes import HANG_SECONDS, wait_until

from distbp.errors import ClusterError, CorruptError, PeerLostError
from distbp.parallel.host.duplicates import Duplicates
from distbp.parallel.host.messages import (
    ORDER,
    RUN,
    Note,
    RunEnded,
    WorkerEnded,
    WorkerJoined,
    WorkerLost,
    WorkerReport,
    pack_worker_message,
)
from distbp.parallel.step.records import Report
from distbp.parallel.step.shards import Span

STEPS = 11


@pytest.fixture
def host(tmp_path):
    made = []

    def make(places, settings):
        made.append(Host(tmp_path, places, settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("shards", [1, 2, 5])
def test_steps_give_the_bits_of_one_process(host, workers, shards):
    here = host(workers, config(shards, optimizer="sgd"))
    here.serve_in_thread()
    for number in range(workers):
        here.work_in_thread(number)
    here.wait_for(workers)
    assert here.run(STEPS) == RunEnded(steps=STEPS)
    here.check(STEPS)


@pytest.mark.parametrize("at", [(0, 0), (2, 1), (7, 0)], ids=str)
def test_a_killed_worker_changes_nothing(host, at):
    here = host(2, config())
    here.serve_with({at: signal.SIGKILL}, {})
    assert here.run(STEPS) == RunEnded(steps=STEPS)
    here.check(STEPS)
    assert here.received(WorkerEnded) == [WorkerEnded(0, f"died in step {at[0]}")]


def test_a_replacement_joins_in_a_step_that_has_no_other_worker(host):
    here = host(1, config())
    here.serve_with({(2, 2): signal.SIGKILL})
    here.driver.send(RUN.pack(0, STEPS, 1.0))
    here.until(WorkerEnded)
    here.work(0)
    here.until(RunEnded)
    here.check(STEPS)


def test_a_frozen_worker_is_named_killed_and_replaced(host):
    here = host(2, config())
    silence, late = here.memory.processes.silence, []
    here.memory.processes.silence = lambda number: silence(number) + sum(late) * (number == 0)
    here.serve_in_thread()
    frozen = here.work(0, {(2, 0): signal.SIGSTOP})
    here.work(1)
    here.wait_for(2)
    here.run(4)
    wait_until(lambda: psutil.Process(frozen.pid).status() == psutil.STATUS_STOPPED)
    late.append(HANG_SECONDS)  # simulate that time has passed
    lost = here.until(WorkerLost)
    assert lost.worker == 0
    assert f"no heartbeat for {HANG_SECONDS:.0f} s" in lost.reason
    assert here.until(WorkerEnded) == WorkerEnded(0, None)
    frozen.join(HANG_SECONDS)
    late.clear()
    assert frozen.exitcode == -signal.SIGKILL
    here.work(0)
    here.until(WorkerJoined)
    here.run(STEPS)
    here.check(STEPS)


def test_a_backup_task_replaces_a_late_worker_whose_answer_is_compared(host, monkeypatch):
    compare, compared = Duplicates.compare, []
    monkeypatch.setattr(Duplicates, "compare", lambda *given: compared.append(given[1].task) or compare(*given))
    here = host(2, config())
    here.serve_with({(2, 0): "late"}, {})
    here.run(3)
    here.release(2)
    wait_until(lambda: compared)
    assert [(task.worker, task.step) for task in compared] == [(0, 2)]
    here.run(STEPS)
    here.check(STEPS)
    assert not here.received(WorkerEnded, WorkerLost)
    assert here.error is None


@pytest.mark.parametrize(
    ("workers", "fault"), [(2, "late"), (2, signal.SIGKILL), (1, signal.SIGKILL)], ids=["late", "died", "died alone"]
)
def test_without_memory_for_backup_tasks_the_server_waits_for_the_worker(host, monkeypatch, workers, fault):
    here = host(workers, config())

    def no_room():
        raise ClusterError("2 MB of shared memory are not free")

    monkeypatch.setattr(here.memory, "reserve_spare", no_room)
    here.serve_in_thread()
    supervisor, asked = here.loop._workers.supervisor, []
    has_spare = supervisor.rows.has_spare
    supervisor.rows.has_spare = lambda: asked.append(supervisor.step) or has_spare()
    here.work(0, {(3, 0): fault, (6, 0): "late"})
    for number in range(1, workers):
        here.work(number)
    here.wait_for(workers)
    here.driver.send(RUN.pack(0, STEPS, 1.0))
    if fault == "late":
        wait_until(lambda: 3 in asked)
        here.release(3)
    else:
        here.until(WorkerEnded)
        here.work(0, {(6, 0): "late"})
    wait_until(lambda: workers == 1 or 6 in asked)
    here.release(6)
    here.until(RunEnded)
    here.check(STEPS)
    notes = here.received(Note)
    assert len(notes) == (workers > 1)  # one note, although several workers were late
    assert all(note.text.startswith("2 MB of shared memory are not free: ") for note in notes)


def test_an_answer_that_is_many_steps_late_is_not_compared(host):
    """The weights that it began with are overwritten while it computes."""
    here = host(2, config())
    here.serve_with({(6, 0): "late"}, {})
    steps = 4001
    here.run(steps)
    here.release(6)
    wait_until(lambda: here.loop._workers.supervisor.is_quiet)  # the late answer arrives before the next step
    here.run(steps + 1)
    assert here.error is None
    assert here.memory.step == steps + 1
    assert not here.received(WorkerEnded, WorkerLost)


def test_a_late_answer_from_before_a_restart_is_ignored(host):
    here = host(2, config())
    here.serve_with({(2, 0): "late"}, {})
    here.run(3)
    list(here.memory.records.read())
    here.memory.records.restart(0)
    here.memory.states[0] = here.initial
    here.release(2)
    wait_until(lambda: here.loop._workers.supervisor.is_quiet)
    here.run(STEPS)
    here.check(STEPS)
    assert here.error is None


def test_a_new_server_does_not_wait_for_workers_that_died_without_a_server(host):
    here = host(2, config())
    server = here.serve_in_process()
    first = here.work(0)
    here.work(1, {(5, 2): signal.SIGKILL})
    here.wait_for(2)
    for process in (server, first):
        process.kill()
        process.join(HANG_SECONDS)
    here.serve_in_process(orphans=[0, 1])
    here.wait_for(1)
    here.driver.send(RUN.pack(0, STEPS, 1.0))
    here.until(WorkerEnded)
    here.work(1)
    here.until(RunEnded)
    here.check(STEPS)


def test_different_answers_for_a_shard_stop_the_run_and_name_both_workers(host):
    here = host(2, config())
    here.serve_with({(2, 0): "late and wrong"}, {})
    here.run(3)
    here.release(2)
    assert here.next_message() is None
    here.close()
    assert isinstance(here.error, CorruptError)
    host_name = socket.gethostname()
    assert f"worker 1 on host {host_name} and worker 0 on host {host_name}" in str(here.error)
    assert "shards 0 to 1 of step 2" in str(here.error)


def test_a_shard_that_kills_its_workers_stops_the_run_and_is_named(host):
    here = host(2, config())
    here.serve_in_thread()
    poison = {(5, 1): signal.SIGKILL}
    here.work(0, poison)
    here.work(1, poison)
    here.wait_for(2)
    here.driver.send(RUN.pack(0, STEPS, 1.0))
    here.until(WorkerEnded)
    here.until(WorkerEnded)
    here.work(0, poison)
    here.until(WorkerEnded)
    assert here.next_message() is None
    here.close()
    assert isinstance(here.error, PeerLostError)
    assert "3 workers died one after the other while they computed shard 1 of step 5" in str(here.error)


@pytest.mark.parametrize("step", [0, 6])
def test_a_server_that_dies_in_an_update_leaves_the_old_state(host, step):
    here = host(2, config())
    server = here.serve_in_process(dies_in=step)
    here.work(0)
    here.work(1)
    here.wait_for(2)
    here.driver.send(RUN.pack(0, STEPS, 1.0))
    while here.next_message() is not None:
        pass
    server.join(HANG_SECONDS)
    assert here.memory.step == step
    here.serve_in_process(orphans=[0, 1])
    here.wait_for(2)
    here.run(STEPS)
    here.check(STEPS)


def test_workers_that_keep_joining_and_leaving_change_nothing(host):
    here = host(3, config())
    here.serve_in_thread()
    deaths = {0: [1, 5], 1: [2, 6], 2: [2, 9]}

    def start(number):
        step = deaths[number].pop(0) if deaths[number] else STEPS
        here.work(number, {(step, shard): signal.SIGKILL for shard in range(4)})

    for number in deaths:
        start(number)
    here.wait_for(3)
    here.driver.send(RUN.pack(0, STEPS, 1.0))

    def replace(message):
        if isinstance(message, WorkerEnded):
            start(message.worker)

    here.until(RunEnded, replace)
    here.check(STEPS)
    assert len(here.received(WorkerEnded)) >= 3


def hello(folder, number):
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.connect(str(folder / "server"))
    channel.sendall(struct.pack("<I", number))
    return channel


def test_an_answer_for_another_step_is_ignored(host, tmp_path):
    here = host(1, config(shards=1))
    here.serve_in_thread()
    worker = hello(tmp_path, 0)
    here.memory.slabs[:] = 0
    here.wait_for(1)
    here.driver.send(RUN.pack(0, 1, 1.0))
    assert ORDER.unpack(worker.recv(ORDER.size)) == (0, 0, 0, 1, 0, 0)
    report = Report(Span(0, 1), 16, (1.0,), 0, (16.0,), (0.0,), (0.0,))
    worker.sendall(b"".join(pack_worker_message(WorkerReport(number, report), 1) for number in (7, 0)))
    assert here.until(RunEnded) == RunEnded(steps=1)
    (record,) = here.memory.records.read()
    assert record.step == 0
    worker.close()


def test_a_silent_connection_does_not_block_the_server(host, tmp_path):
    here = host(1, config())
    here.serve_in_thread()
    silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    silent.connect(str(tmp_path / "server"))
    here.work_in_thread(0)
    here.wait_for(1)
    assert here.run(2) == RunEnded(steps=2)
    silent.close()
