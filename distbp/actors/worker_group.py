"""The actors of a run on one host: the parameter server and the workers, started, replaced, and always stopped."""

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

from distbp.actors.actor_base import Ping
from distbp.actors.connection.calls import death, in_brackets, put, within
from distbp.actors.connection.nodes import see_alike
from distbp.actors.connection.placement import Placement, on_this_host
from distbp.actors.connection.session import private_ray
from distbp.actors.training_actors import RemoteServer, RemoteWorker
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
"""Pause before an actor that died is replaced: seconds for each death so far, and the most."""
START_SECONDS = 20.0
_KILL_SECONDS = 3.0
"""Time for killing all actors: Ray first asks its head about those that are still starting."""
_POLL_SECONDS = 0.5
"""Time between two checks of the private Ray while the actors start."""


def longest_start(config: Settings) -> float:
    """Return the seconds after which a starting actor is replaced; on a cluster it may first wait for free CPUs."""
    return config.wait if config.address else max(config.timeout, START_SECONDS)


class WorkerGroup:
    """The server and the workers, by their numbers; each can be replaced."""

    def __init__(
        self,
        structure: Structure,
        config: Settings,
        rows: Rows,
        placement: Placement | None,
        note: Callable[[str], None],
    ) -> None:
        """Run the actors on the CPUs of ``placement``, or on a private Ray if it is None."""
        send_by_value(structure, config, rows)
        self._rows = put_rows(rows, is_one_host=True)
        self.row_count = len(rows)
        self._structure, self._placement = structure, placement
        self._local = private_ray()
        self.config = config
        self.note = note
        self.server: Any = None
        self.workers: dict[int, Any] = {}
        self.pings: dict[int | None, Ping] = {}
        """The first answers to pings: of workers by number, of the server under None."""

    def start(self) -> None:
        """Start the server and all workers; wait until the server and the least number of workers have answered.

        Raises:
            ClusterError: they have not answered within --wait.
            PeerLostError: actors die again and again as they start.
        """
        self.start_server()
        for slot in range(self.config.workers.most):
            self.start_worker(slot)
        deadline = time.monotonic() + self.config.wait
        given_up = time.monotonic() + longest_start(self.config)
        refs: dict[Any, int | None] = {worker.ping.remote(): slot for slot, worker in self.workers.items()}
        refs[self.server.ping.remote()] = None
        deaths = 0
        needed = 1 + self.config.workers.least
        while refs and (None not in self.pings or len(self.pings) < needed):
            until = min(deadline, given_up)
            ready, waiting = self._wait(list(refs), until)
            if not ready and until == deadline:
                silent = ", ".join(self.name(refs[ref]) for ref in waiting)
                why = "the cluster has no room for" if self.config.address else "no answer from"
                raise ClusterError(
                    f"{len(self.pings)} of {needed} actors started within {self.config.wait:g} s (--wait): "
                    f"{why} {silent}"
                )
            if not ready:
                given_up = time.monotonic() + longest_start(self.config)
            for ref in ready or waiting:
                number = refs.pop(ref)
                cause = self._start_failure(ref, number) if ready else ""
                if cause is None:
                    continue
                why = f"{'died while it was starting' if ready else 'did not start'}{in_brackets(cause)}"
                self.note(f"{self.name(number)} {why}: another one is started")
                if deaths == _MOST_DEATHS_AT_START * needed:
                    raise PeerLostError(
                        f"{self.name(number)} {why}, after {deaths} other actors were lost while they were starting"
                    )
                time.sleep(max(0.0, min(_PAUSE * deaths, _LONGEST_PAUSE, deadline - time.monotonic())))
                deaths += 1
                replacement = self.start_server() if number is None else self.start_worker(number)
                refs[replacement.ping.remote()] = number
        for text in other_arithmetic(self.pings.values()):
            self.note(text)

    def _wait(self, refs: list[Any], until: float) -> tuple[list[Any], list[Any]]:
        """Wait for an answer to any ping; return the calls that have ended, and the others.

        Raises:
            HeadLostError: the private Ray itself was lost.
        """
        while True:
            if self._local is not None:
                self._local.look(0)
            remaining = until - time.monotonic()
            ready, waiting = ray.wait(refs, timeout=max(0.0, min(remaining, _POLL_SECONDS)))
            if ready or remaining <= 0:
                return ready, waiting

    def _start_failure(self, ref: Any, number: int | None) -> str | None:
        """Store an actor's first answer to a ping; if it died instead, return the cause, empty if unknown."""
        try:
            self.pings[number] = ray.get(ref)
        except RayError as error:
            return death(error, self.name(number))
        return None

    def start_server(self) -> Any:
        """Start a parameter server, after killing the previous one, if any; return it."""
        if self.server is not None:
            ray.kill(self.server)
        # A private Ray has a CPU for the server; a cluster's placement reserves CPUs for workers alone.
        options: dict[str, Any] = {"num_cpus": 1}
        if self._placement is not None:
            options = {"num_cpus": 0, "scheduling_strategy": on_this_host()}
        self.server = RemoteServer.options(**options).remote(self._structure, self.config)
        return self.server

    def start_worker(self, number: int) -> Any:
        """Start a worker in slot ``number``, after killing its previous one, if any; return it."""
        if number in self.workers:
            ray.kill(self.workers[number])
        strategy = "DEFAULT" if self._placement is None else self._placement.strategy(number)
        actor_class = RemoteWorker.options(scheduling_strategy=strategy)
        self.workers[number] = actor_class.remote(self._structure, self.config, *self._rows)
        return self.workers[number]

    def name(self, number: int | None) -> str:
        """Return the name of a worker, or with None of the server, with its host if known."""
        name = "the parameter server" if number is None else f"worker {number}"
        return f"{name} on host {self.pings[number].host}" if number in self.pings else name

    def host(self, number: int) -> str:
        """Return a worker's host; a worker that was never pinged runs on this host."""
        return self.pings[number].host if number in self.pings else socket.gethostname()

    def stop(self) -> None:
        """Kill all actors, unless the private Ray is lost, which has none left."""
        if self._local is not None and self._local.lost():
            return

        def kill_all() -> None:
            for actor in (self.server, *self.workers.values()):
                if actor is not None:
                    ray.kill(actor)

        within(_KILL_SECONDS, kill_all)


def put_rows(rows: Rows, is_one_host: bool = False) -> tuple[Any, ...]:
    """Put the rows into Ray's object store, with one copy per host; return the arguments of an actor.

    Arrays that are mapped from files are passed as file names if all hosts see the same files. :func:`fetch` returns
    the arrays in another process.
    """
    arrays = rows.x, rows.y, rows.weights
    sources = [mapped(array) for array in arrays]
    files = [source for source in sources if source is not None]
    maps = bool(files) and (is_one_host or see_alike(files))
    x, y, weights = (_passed(array, source if maps else None) for array, source in zip(arrays, sources, strict=True))
    return x, y, rows.factor, weights, rows.encoding


def _passed(array: Any, source: MappedFile | None) -> Any:
    """Return the argument for an array: the name of its file if ``source`` is given, else a reference to the store."""
    if array is None:
        return None
    return source or put(array if isinstance(array, LazyRows) else np.asarray(checked(array)))


def fetch(passed: Any) -> Any:
    """Return the array that :func:`put_rows` has passed.

    Raises:
        DataError: this host does not see the array's file.
    """
    return opened(ray.get(passed) if isinstance(passed, ray.ObjectRef) else passed)


def other_arithmetic(pings: Iterable[Ping]) -> Iterator[str]:
    """Yield a note for each host that may compute other bits than this one."""
    local = fingerprint()
    for host, remote in {ping.host: ping.arithmetic for ping in pings}.items():
        changed = [f"{name} {remote[name]} (here {local[name]})" for name in local if remote[name] != local[name]]
        if changed:
            yield f"host {host} computes with {', '.join(changed)}: its bits may differ"


def send_by_value(structure: Structure, config: Settings, rows: Rows) -> None:
    """Send the user's own classes with their code, since other hosts may not have the modules that define them."""
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
    """Start the actors and wait until they answer; kill them at the end."""
    group = WorkerGroup(structure, config, rows, placement, note)
    del rows  # this frame lives as long as the run, and the driver needs no copy of the rows
    try:
        group.start()
        yield group
    finally:
        group.stop()
