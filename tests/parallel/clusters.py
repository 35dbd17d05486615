"""Several hosts in one process that exchange sums over TCP, with workers as threads."""

import threading

from parallel.hosts import STRUCTURE, Faulty, table
from processes import HANG_SECONDS, join, wait_until

from distbp.parallel.host.host import Host
from distbp.parallel.host.messages import RunEnded
from distbp.parallel.host.shared_memory import SharedMemory
from distbp.parallel.host.worker_loop import work
from distbp.parallel.mesh.view import View, servers_for
from distbp.parallel.step.executor import InProcessExecutor
from distbp.training.executors import initial_state

STEPS = 11
SECRET = b"s" * 32


def view_of(hosts, workers, settings, number=1, servers=None, wire="exact"):
    addresses = tuple(host.address for host in hosts)
    partitions = servers_for(servers, len(hosts))
    return View(number, addresses, tuple(workers), partitions, settings.shards, wire, HANG_SECONDS)


class Cluster:
    """Hosts in this process, each with its workers."""

    def __init__(self, workers, settings, faults=None, structure=STRUCTURE, rows=None):
        """Start the hosts; ``faults`` of workers are given by host and slot (see Faulty)."""
        self.settings, self.faults = settings, faults or {}
        self.structure, self.rows = structure, table() if rows is None else rows
        self.initial = initial_state(structure, settings)
        self.hosts, self.threads, self.workers = [], [], list(workers)
        for count in workers:
            self.add(count, self.initial, 0)

    def add(self, count, state, step):
        host = Host(self.structure, self.settings, self.rows, max(1, count), "127.0.0.1")
        host.restart(state, step)
        self.hosts.append(host)
        targets = [(host.serve, ())]
        for place in range(count):
            faults = self.faults.get((len(self.hosts) - 1, place), {})
            worker = Faulty(self.settings, self.rows, faults, self.structure)
            memory = SharedMemory(host.memory.folder, host.memory.shape)
            targets.append((work, (worker, self.structure, memory, place, HANG_SECONDS, HANG_SECONDS, True)))
        for target, arguments in targets:
            self.threads.append(threading.Thread(target=target, args=arguments, daemon=True))
            self.threads[-1].start()
        return host

    def join_view(self, view, step=0):
        answers = {}

        def one(number):
            answers[number] = self.hosts[number].join_view(view, number, step, SECRET)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(self.hosts))]
        for thread in threads:
            thread.start()
        join(*threads)
        return answers

    def run(self, first, stop):
        for host in self.hosts:
            host.run(first, stop, 1.0)

    def wait(self, host, known=0):
        done = []

        def is_done():
            messages, records = host.messages(known)
            done.extend((message, records) for message in messages if isinstance(message, RunEnded))
            return done

        wait_until(is_done)
        return done[0]

    def close(self):
        for host in self.hosts:
            host.close()
        join(*self.threads)


def alone(settings, steps=STEPS):
    pool = InProcessExecutor(STRUCTURE, settings, table(), initial_state(STRUCTURE, settings))
    return list(pool.steps(steps)), pool.state()
