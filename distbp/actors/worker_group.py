"""The actors of one run: one parameter server and the workers, started, watched, replaced and always stopped."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from distbp.actors.connection.calls import death, in_brackets, put, within
from distbp.actors.connection.nodes import see_alike
from distbp.actors.connection.placement import Placement, on_this_host
from distbp.actors.connection.session import private_ray
from distbp.actors.worker_actors import Ping, RemoteServer, RemoteWorker
from distbp.config import Settings
from distbp.data.dataset import Rows
from distbp.data.lazy import LazyRows
from distbp.data.prepared.checksums import checked
from distbp.data.prepared.mapped import MappedFile, mapped, opened
from distbp.errors import ClusterError, PeerLostError
from distbp.nn.structure import Structure
from distbp.system.arithmetic import fingerprint

_MOST_DEATHS_AT_START = 3
_PAUSE, _LONGEST_PAUSE = 0.5, 4.0
"""Seconds, for each death, before an actor is started in the place of one that died: what killed it may pass."""
START_SECONDS = 20.0
_KILL_SECONDS = 3.0
"""What it may take to kill all actors: Ray's head is asked about those that it has just been asked to start."""
_LOOK_SECONDS = 0.5
"""How often a private Ray is looked at while the actors start."""


def longest_start(config: Settings) -> float:
    """Return the seconds after which an actor that is to come is given up for another one.

    On a cluster it may have to wait for room.
    """
    return config.wait if config.address else max(config.timeout, START_SECONDS)


class WorkerGroup:
    """The server and the workers by their numbers; whoever is lost can be started again."""

    def __init__(
        self,
        structure: Structure,
        config: Settings,
        rows: Rows,
        placement: Placement | None,
        note: Callable[[str], None],
    ) -> None:
        """Take CPUs of ``placement``, or whatever Ray is private to this run."""
        send_by_value(structure, config, rows)
        self._rows = put_rows(rows, is_one_host=True)
        self._structure, self._placement = structure, placement
        self._local = private_ray()
        self.config = config
        self.note = note
        self.server: Any = None
        self.workers: dict[int, Any] = {}
        self.pulses: dict[int | None, Ping] = {}
        """The first signs of life, of workers by number and of the server under None."""

    def start(self) -> None:
        """Start the server and all workers; wait until the server and the least number of workers have answered.

        Raises:
            ClusterError: the cluster has no room for them within --wait.
        """
        self.start_server()
        for number in range(self.config.worker_count):
            self.start_worker(number)
        deadline = time.monotonic() + self.config.wait
        given_up = time.monotonic() + longest_start(self.config)
        refs: dict[Any, int | None] = {worker.pulse.remote(): number for number, worker in self.workers.items()}
        refs[self.server.pulse.remote()] = None
        deaths = 0
        needed = 1 + self.config.least_workers
        while refs and (None not in self.pulses or len(self.pulses) < needed):
            until = min(deadline, given_up)
            ready, waiting = self._wait(list(refs), until)
            if not ready and until == deadline:
                silent = ", ".join(self.name(refs[ref]) for ref in waiting)
                why = "the cluster has no room for" if self.config.address else "no answer from"
                raise ClusterError(
                    f"{len(self.pulses)} of {needed} actors started within {self.config.wait:g} s (--wait): "
                    f"{why} {silent}"
                )
            if not ready:
                given_up = time.monotonic() + longest_start(self.config)
            for ref in ready or waiting:
                who = refs.pop(ref)
                cause = self._has_come(ref, who) if ready else ""
                if cause is None:
                    continue
                why = f"{'died as it started' if ready else 'did not start'}{in_brackets(cause)}"
                self.note(f"{self.name(who)} {why}: another one is started")
                if deaths == _MOST_DEATHS_AT_START * needed:
                    raise PeerLostError(
                        f"{deaths} actors before it were lost while they started; {self.name(who)} {why}"
                    )
                time.sleep(max(0.0, min(_PAUSE * deaths, _LONGEST_PAUSE, deadline - time.monotonic())))
                deaths += 1
                again = self.start_server() if who is None else self.start_worker(who)
                refs[again.pulse.remote()] = who
        for text in other_arithmetic(self.pulses.values()):
            self.note(text)

    def _wait(self, refs: list[Any], until: float) -> tuple[list[Any], list[Any]]:
        """Wait for a first sign of life; return which calls are over and which are not.

        Raises:
            HeadLostError: the private Ray itself was lost.
        """
        while True:
            if self._local is not None:
                self._local.look(0)
            left = until - time.monotonic()
            ready, waiting = ray.wait(refs, timeout=max(0.0, min(left, _LOOK_SECONDS)))
            if ready or left <= 0:
                return ready, waiting

    def _has_come(self, pulse: Any, who: int | None) -> str | None:
        """Take in a first sign of life; if the actor has died instead, return with what cause, as far as known."""
        try:
            self.pulses[who] = ray.get(pulse)
        except RayError as error:
            return death(error, self.name(who))
        return None

    def start_server(self) -> Any:
        """Start a parameter server in the place of the one before, if there was one; return it."""
        if self.server is not None:
            ray.kill(self.server)
        # A private Ray has a CPU for the server; on a cluster the workers' CPUs are what counts.
        options: dict[str, Any] = {"num_cpus": 1}
        if self._placement is not None:
            options = {"num_cpus": 0, "scheduling_strategy": on_this_host()}
        self.server = RemoteServer.options(**options).remote(self._structure, self.config)
        return self.server

    def start_worker(self, number: int) -> Any:
        """Start a worker in the place ``number``, and end the one that was there; return it."""
        if number in self.workers:
            ray.kill(self.workers[number])
        strategy = "DEFAULT" if self._placement is None else self._placement.strategy(number)
        shell = RemoteWorker.options(scheduling_strategy=strategy)
        self.workers[number] = shell.remote(self._structure, self.config, *self._rows)
        return self.workers[number]

    def name(self, number: int | None) -> str:
        """Return the name of a worker, or of the server, with its host if that is known."""
        who = "the parameter server" if number is None else f"worker {number}"
        return f"{who} on host {self.pulses[number].host}" if number in self.pulses else who

    def host(self, number: int) -> str:
        """Return the host of a worker; of one that has come later, this one, where all of them are."""
        return self.pulses[number].host if number in self.pulses else socket.gethostname()

    def stop(self) -> None:
        """Kill everybody, which on a cluster nobody else would; of a private Ray that was lost nobody is left."""
        if self._local is not None and self._local.lost():
            return

        def kill_all() -> None:
            for actor in (self.server, *self.workers.values()):
                if actor is not None:
                    ray.kill(actor)

        within(_KILL_SECONDS, kill_all)


def put_rows(rows: Rows, is_one_host: bool = False) -> tuple[Any, ...]:
    """Give the rows to Ray, which keeps one copy per host; return what an actor is made with, to be :func:`got`.

    What is mapped from files is mapped by all hosts of a cluster if all of them see the same files; else it travels.
    """
    arrays = rows.x, rows.y, rows.weights
    places = [mapped(array) for array in arrays]
    files = [place for place in places if place is not None]
    maps = bool(files) and (is_one_host or see_alike(files))
    x, y, weights = (_passed(array, place if maps else None) for array, place in zip(arrays, places, strict=True))
    return x, y, rows.factor, weights, rows.encoding


def _passed(array: Any, place: MappedFile | None) -> Any:
    """Return an array as it is passed to the workers: by a reference, or by its file's name."""
    if array is None:
        return None
    return place or put(array if isinstance(array, LazyRows) else np.asarray(checked(array)))


def got(passed: Any) -> Any:
    """Return an array that another process has passed on, as :func:`put_rows` does.

    Raises:
        DataError: this host does not see the file that it is in.
    """
    return opened(ray.get(passed) if isinstance(passed, ray.ObjectRef) else passed)


def other_arithmetic(pulses: Iterable[Ping]) -> Iterator[str]:
    """Say which hosts may compute other bits than this one."""
    here = fingerprint()
    for host, there in {pulse.host: pulse.arithmetic for pulse in pulses}.items():
        changed = [f"{name} {there[name]} (here {here[name]})" for name in here if there[name] != here[name]]
        if changed:
            yield f"host {host} computes with {', '.join(changed)}: its bits may differ"


def send_by_value(structure: Structure, config: Settings, rows: Rows) -> None:
    """Let parts of the user's own travel with their code: the module they are from may not be there on other hosts."""
    for part in (*structure.activations, structure.cost, config.optimizer, config.schedule, rows.source):
        module = sys.modules.get(type(part).__module__)
        path = getattr(module, "__file__", None) or ""
        is_installed = "site-packages" in path or module is None or module.__name__.split(".")[0] == "distbp"
        if not isinstance(part, str) and path and not is_installed and module is not None:
            ray.cloudpickle.register_pickle_by_value(module)


@contextmanager
def worker_group(
    structure: Structure, config: Settings, rows: Rows, placement: Placement | None, note: Callable[[str], None]
) -> Iterator[WorkerGroup]:
    """Start the actors and wait until they have answered; kill them at the end."""
    crew = WorkerGroup(structure, config, rows, placement, note)
    del rows  # this frame lives as long as the run, and the driver needs no copy of its own
    try:
        crew.start()
        yield crew
    finally:
        crew.stop()
