"""A host without Ray: server and workers are processes or threads of the test, which is the driver."""

import contextlib
import os
import select
import signal
import threading
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
from processes import HANG_SECONDS, join, wait_until

from distbp.config import Config
from distbp.data.dataset import Rows
from distbp.data.epoch_order import EpochOrder
from distbp.errors import TrainingError
from distbp.nn.structure import Structure
from distbp.parallel.host.channel import DRIVER, connect
from distbp.parallel.host.messages import RUN, RunEnded, WorkerJoined, receive_message
from distbp.parallel.host.server_loop import ServerLoop
from distbp.parallel.host.shared_memory import Shape, SharedMemory
from distbp.parallel.host.worker_loop import work
from distbp.parallel.step.executor import InProcessExecutor, make_parameter_server
from distbp.parallel.step.shards import buffers_for
from distbp.parallel.step.worker import Worker
from distbp.training.executors import initial_state

STRUCTURE = Structure((6, 5, 3), ("relu", "softmax"), "cross-entropy")


def table():
    """Return 50 rows of 6 numbers in 3 classes."""
    random = np.random.default_rng(0)
    return Rows(random.random((50, 6), dtype=np.float32), random.integers(0, 3, 50))


class Faulty(Worker):
    """A worker with planned faults {(step, shard): fault}, which occur when it begins with the shard.

    A fault is a signal, "late", "late and wrong" or a function. A function for (step, "end") is called when all shards
    are computed, before the report. A late worker creates the file late-STEP in the folder and waits for go-STEP.
    """

    def __init__(self, config, rows, faults, structure=STRUCTURE, folder=None):
        super().__init__(structure, config, rows)
        self._faults, self._folder = dict(faults), folder

    def compute(self, step, span, weights, out, begin=lambda shard: None, done=None, keep=None):
        def begin_or_fail(shard):
            begin(shard)
            what = self._faults.pop((step, shard), None)
            if what in (signal.SIGKILL, signal.SIGSTOP):
                os.kill(os.getpid(), what)
            elif callable(what):
                what()
            elif what in ("late", "late and wrong"):
                (self._folder / f"late-{step}").touch()
                wait_until((self._folder / f"go-{step}").exists)
                wrong.extend([True] * (what == "late and wrong"))

        wrong = []
        report = super().compute(step, span, weights, out, begin_or_fail, done, keep)
        self._faults.pop((step, "end"), lambda: None)()
        if wrong:
            out[0].flat[0] = np.nextafter(out[0].flat[0], np.float32(1))
        return report


def worker_process(folder, shape, number, config, faults, timeout):
    """Run a worker with these faults; the target of a process."""
    with contextlib.suppress(TrainingError):
        work(
            Faulty(config, table(), faults, folder=folder),
            STRUCTURE,
            SharedMemory(folder, shape),
            number,
            timeout,
            HANG_SECONDS,
        )


def server_process(folder, shape, config, timeout, orphans, dies_in):
    """Run the server, which kills itself in the middle of the update of step ``dies_in``."""
    memory = SharedMemory(folder, shape)
    server = make_parameter_server(
        STRUCTURE, config, EpochOrder(50, config.batch_size, config.seed), memory.states, memory.step
    )
    if dies_in is not None:
        update = server._rule.optimizer.update

        def update_half(old, new, gradient, step, *rest):
            if step == dies_in:
                new[:] = np.nan
                os.kill(os.getpid(), signal.SIGKILL)
            update(old, new, gradient, step, *rest)

        dying = type("Dying", (), {"update": staticmethod(update_half)})()
        server._rule = replace(server._rule, optimizer=dying)
    ServerLoop(server, memory, EpochOrder(50, config.batch_size, config.seed), timeout, HANG_SECONDS, orphans).serve()


class Host:
    """Shared memory with a server in a thread or a process, and slots for workers."""

    def __init__(self, folder, slots, config, timeout=HANG_SECONDS):
        self.config, self.timeout, self.folder = config, timeout, folder
        self.initial = initial_state(STRUCTURE, config)
        sums = buffers_for(config.shards, slots)
        self.shape = Shape(*self.initial.shape, "float32", slots, sums, config.shards, STRUCTURE.depth)
        self.memory = SharedMemory(folder, self.shape, create=True)
        self.memory.states[0] = self.initial
        self.driver = self.loop = None
        self.error = None
        self.messages = []
        self._processes = []
        self._threads = []

    def serve_in_thread(self):
        """Run the server in a thread, so that the test can read its error."""

        order = EpochOrder(50, self.config.batch_size, self.config.seed)
        server = make_parameter_server(STRUCTURE, self.config, order, self.memory.states, self.memory.step)
        self.loop = ServerLoop(server, self.memory, order, self.timeout, HANG_SECONDS)

        def serve():
            try:
                self.loop.serve()
            except TrainingError as error:
                self.error = error

        self._threads.append(threading.Thread(target=serve))
        self._threads[-1].start()
        self.driver = connect(self.folder, DRIVER, HANG_SECONDS)

    def serve_in_process(self, dies_in=None, orphans=()):
        """Run the server as a process, which may die."""
        if self.driver is not None:
            self.driver.close()
        process = self._start(server_process, self.folder, self.shape, self.config, self.timeout, orphans, dies_in)
        self.driver = connect(self.folder, DRIVER, HANG_SECONDS)
        return process

    def work(self, number, faults=()):
        """Start a worker process."""
        return self._start(worker_process, self.folder, self.shape, number, self.config, dict(faults), self.timeout)

    def work_in_thread(self, number):
        """Start a worker in a thread."""
        arguments = (
            Worker(STRUCTURE, self.config, table()),
            STRUCTURE,
            self.memory,
            number,
            self.timeout,
            HANG_SECONDS,
        )
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _start(self, target, *arguments):
        process = get_context("spawn").Process(target=target, args=arguments)
        process.start()
        self._processes.append(process)
        return process

    def next_message(self):
        """Wait for the server's next message; return None if it has closed the channel."""
        message = None
        while message is None:
            assert select.select([self.driver], [], [], HANG_SECONDS)[0], f"no message came; before: {self.messages}"
            try:
                message = receive_message(self.driver)
            except EOFError:
                break
        return message

    def until(self, kind, handle=lambda message: None):
        """Receive messages until one is of this kind, and handle each; return the last."""
        while True:
            message = self.next_message()
            assert message is not None, f"the server is gone; before: {self.messages}"
            self.messages.append(message)
            handle(message)
            if isinstance(message, kind):
                return message

    def received(self, *kinds):
        """Return the messages of these kinds so far."""
        return [message for message in self.messages if isinstance(message, kinds)]

    def serve_with(self, *faults):
        """Run the server in a thread and a worker process for each of ``faults``; wait until all have joined."""
        self.serve_in_thread()
        for number, each in enumerate(faults):
            self.work(number, each)
        self.wait_for(len(faults))

    def wait_for(self, workers):
        """Wait until this number of workers has joined."""
        for _ in range(workers):
            self.until(WorkerJoined)

    def run(self, stop):
        """Run the steps before ``stop``, and return the final message."""
        self.driver.send(RUN.pack(self.memory.step, stop, 1.0))
        return self.until(RunEnded)

    def release(self, step):
        """Wait until a worker is late in this step, then let it continue."""
        wait_until((self.folder / f"late-{step}").exists)
        (self.folder / f"go-{step}").touch()

    def close(self):
        """End all processes and threads."""
        if self.driver is not None:
            self.driver.close()
        for process in self._processes:
            process.kill()
            process.join(HANG_SECONDS)
        join(*self._threads)

    def check(self, steps):
        """Check that state and records equal those of one process."""
        alone = InProcessExecutor(STRUCTURE, self.config, table(), self.initial)
        expected = list(alone.steps(steps))
        assert self.memory.step == steps
        assert self.memory.states[steps % 2].tobytes() == alone.state().tobytes()

        def fields(records):
            return [(record.step, record.rows, record.cost, record.right, record.layers) for record in records]

        assert fields(self.memory.records.read()) == fields(expected)


def config(shards=4, **settings):
    """Return settings for 4 steps per epoch, the last of which is short."""
    return Config(batch_size=16, shards=shards, **settings)
