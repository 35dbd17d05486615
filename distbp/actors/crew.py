"""The actors of one run: one parameter server and the workers, started, watched, replaced and always stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distbp.actors.shells import Pulse, RemoteServer, RemoteWorker
from distbp.config import Config
from distbp.data.dataset import Rows
from distbp.errors import ClusterError, PeerLostError, TrainingError
from distbp.nn.structure import Structure
from distbp.parallel.arithmetic import fingerprint

_MOST_DEATHS_AT_START = 3
START_SECONDS = 20.0
_CPUS_SECONDS = 0.5
"""Between two looks at what a cluster has."""


def longest_start(config: Config) -> float:
    """Return the seconds after which an actor that is to come is given up for another one.

    On a cluster it may have to wait for room.
    """
    return config.wait if config.address else max(config.timeout, START_SECONDS)


class Crew:
    """The server and the workers by their numbers; whoever is lost can be started again."""

    def __init__(self, structure: Structure, config: Config, rows: Rows, note: Callable[[str], None]) -> None:
        # Put once and passed by reference: Ray keeps one copy per host, which its workers map read-only.
        weights = None if rows.weights is None else ray.put(rows.weights)
        self._rows = ray.put(rows.x), ray.put(rows.y), rows.factor, weights
        _send_by_value(structure, config)
        self._structure = structure
        self.config = config
        self.note = note
        self._strategy: Any = None
        self.server: Any = None
        self.workers: dict[int, Any] = {}
        self._silent_nodes: set[str] = set()
        """Hosts none of whose actors answered when all were asked."""
        self.pulses: dict[int | None, Pulse] = {}
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
            ready, waiting = ray.wait(list(refs), timeout=max(0.0, until - time.monotonic()))
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
                if not ready:
                    self.note(f"{self.name(who)} did not start: another one is started")
                elif self._has_come(ref, who):
                    continue
                deaths += 1
                if deaths > _MOST_DEATHS_AT_START * needed:
                    raise PeerLostError(f"{deaths} actors died while they started, {self.name(who)} the last")
                again = self.start_server() if who is None else self.start_worker(who)
                refs[again.pulse.remote()] = who
        for text in self._other_arithmetic():
            self.note(text)

    def _has_come(self, pulse: Any, who: int | None) -> bool:
        """Take in a first sign of life; return False if the actor has died instead."""
        try:
            self.pulses[who] = ray.get(pulse)
        except RayActorError as error:
            said = str(error).strip()
            if "creation task" in said:  # it would fail again and again
                raise PeerLostError(f"{self.name(who)} could not start: {said.splitlines()[-1].strip()}") from error
            return False
        return True

    def start_server(self) -> Any:
        """Start a parameter server in the place of the one before, if there was one; return it."""
        if self.server is not None:
            ray.kill(self.server)
        # A private Ray has a CPU for the server; on a cluster the workers' CPUs are what counts.
        cpus = 0 if self.config.address else 1
        self.server = self._options(RemoteServer, num_cpus=cpus).remote(self._structure, self.config)
        return self.server

    def start_worker(self, number: int) -> Any:
        """Start a worker in the place ``number``, and end the one that was there; return it."""
        if number in self.workers:
            ray.kill(self.workers[number])
        self.workers[number] = self._options(RemoteWorker).remote(self._structure, self.config, *self._rows)
        return self.workers[number]

    def _options(self, shell: Any, **options: Any) -> Any:
        if self._silent_nodes and not self._strategy:
            # Ray itself may take a minute to see that a host is cut off, and would start actors there meanwhile.
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(self._silent_nodes))})"}
        return shell.options(**options, **({"scheduling_strategy": self._strategy} if self._strategy else {}))

    def stay_on_this_host(self) -> None:
        """Start whoever is to come on this host."""
        node = ray.get_runtime_context().get_node_id()
        self._strategy = NodeAffinitySchedulingStrategy(node, soft=False)

    def is_on_this_host(self) -> bool:
        """Return whether all who have answered are on the driver's host, as Ray sees it."""
        here = ray.get_runtime_context().get_node_id()
        return all(pulse.node == here for pulse in self.pulses.values())

    def name(self, number: int | None) -> str:
        """Return the name of a worker, or of the server, with its host if that is known."""
        who = "the parameter server" if number is None else f"worker {number}"
        return f"{who} on host {self.pulses[number].host}" if number in self.pulses else who

    def _other_arithmetic(self) -> Iterator[str]:
        """Say which hosts may compute other bits than this one."""
        here = fingerprint()
        for host, there in {pulse.host: pulse.arithmetic for pulse in self.pulses.values()}.items():
            changed = [f"{name} {there[name]} (here {here[name]})" for name in here if there[name] != here[name]]
            if changed:
                yield f"host {host} computes with {', '.join(changed)}: its bits may differ"

    def silent(self, seconds: float) -> list[int | None]:
        """Return who of those that had answered before does not answer, or is dead; None is the server."""
        pulses = {self._actor(number).pulse.remote(): number for number in self.pulses}
        ready, waiting = ray.wait(list(pulses), num_returns=len(pulses), timeout=seconds)
        silent = [pulses[ref] for ref in waiting]
        answering = {self.pulses[pulses[ref]].node for ref in ready}
        self._silent_nodes |= {self.pulses[who].node for who in silent} - answering
        return silent

    def _actor(self, number: int | None) -> Any:
        return self.server if number is None else self.workers[number]

    def stop(self) -> None:
        """Kill everybody, which on a cluster nobody else would."""
        for actor in (self.server, *self.workers.values()):
            if actor is not None:
                ray.kill(actor)


def raise_cause(error: RayTaskError) -> None:
    """Raise the error of ours that an actor's call ended with, if it was one."""
    if isinstance(error.cause, TrainingError | ClusterError):
        raise type(error.cause)(str(error.cause)) from error


def ended(ref: Any, who: str) -> bool:
    """Return whether the call of the actor ``who`` has ended, by itself or with its process.

    Raises:
        TrainingError: it ended with an error.
    """
    if not ray.wait([ref], timeout=0)[0]:
        return False
    with suppress(RayActorError):
        try:
            ray.get(ref)
        except RayTaskError as error:
            raise_cause(error)
            raise failed(who, error) from error
    return True


def failed(who: str, error: RayError) -> PeerLostError:
    """Return the error that says what an actor's call has failed with."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    said = (str(cause).strip().splitlines() or [""])[0]
    return PeerLostError(f"{who} failed: {type(cause).__name__}{': ' * bool(said)}{said}")


def is_loss(error: RayError) -> bool:
    """Return whether a call failed because an actor, or an object that it held, is gone."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    return isinstance(cause, RayActorError | ObjectLostError | NodeDiedError)


def with_cluster_workers(config: Config, note: Callable[[str], None]) -> Config:
    """Return the settings with a number of workers that the cluster has CPUs for; ``auto`` is one per shard at most.

    Where it has too few, others may be starting: they are waited for.

    Raises:
        ClusterError: the cluster has too few CPUs after --wait.
    """
    assert config.shards is not None
    needed = 1 if config.workers == "auto" else config.least_workers
    deadline, told = time.monotonic() + config.wait, False
    while (there := int(ray.cluster_resources().get("CPU", 0))) < needed:
        what = f"--workers {config.workers} needs {needed} CPUs, the cluster at {config.address} has {there}"
        if time.monotonic() > deadline:
            hint = f"use --workers {there} or fewer, or" if there else "start some, or"
            raise ClusterError(f"{what} after {config.wait:g} s: {hint} a longer --wait")
        if not told:
            told = True
            note(f"{what}: waiting {config.wait:g} s for more, --wait to change")
        time.sleep(_CPUS_SECONDS)
    return replace(config, workers=max(1, min(there, config.shards))) if config.workers == "auto" else config


def _send_by_value(structure: Structure, config: Config) -> None:
    """Let parts of the user's own travel with their code: the module they are from may not be there on other hosts."""
    for part in (*structure.activations, structure.cost, config.optimizer, config.schedule):
        module = sys.modules.get(type(part).__module__)
        path = getattr(module, "__file__", None) or ""
        is_installed = "site-packages" in path or module is None or module.__name__.split(".")[0] == "distbp"
        if not isinstance(part, str) and path and not is_installed and module is not None:
            ray.cloudpickle.register_pickle_by_value(module)


@contextmanager
def crew_of(structure: Structure, config: Config, rows: Rows, note: Callable[[str], None]) -> Iterator[Crew]:
    """Start the actors and wait until they have answered; kill them at the end."""
    crew = Crew(structure, config, rows, note)
    del rows  # this frame lives as long as the run, and the driver needs no copy of its own
    try:
        crew.start()
        yield crew
    finally:
        crew.stop()
