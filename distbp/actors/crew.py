"""The actors of one run: one parameter server and the workers, started, watched and always stopped together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from distbp.actors.shells import Pulse, RemoteServer, RemoteWorker
from distbp.config import Config
from distbp.data.dataset import Array, Rows
from distbp.errors import ClusterError, PeerLostError
from distbp.nn.structure import Structure
from distbp.parallel.arithmetic import fingerprint


class Crew:
    """Actors that have answered at least once."""

    def __init__(self, config: Config, server: Any, workers: list[Any]) -> None:
        self.config = config
        self.server = server
        self.workers = workers
        self._names = {"the parameter server": server} | {f"worker {i}": worker for i, worker in enumerate(workers)}
        self.pulses: list[Pulse] = []

    def wait_until_started(self) -> None:
        """Wait for everybody's first sign of life.

        Raises:
            ClusterError: the cluster has no room for all of them within --wait.
        """
        refs = [actor.pulse.remote() for actor in self._names.values()]
        ready, late = ray.wait(refs, num_returns=len(refs), timeout=self.config.wait)
        if late:
            raise ClusterError(
                f"{len(ready)} of {len(refs)} actors started within {self.config.wait:g} s (--wait): "
                "the cluster has no room for the others"
            )
        self.pulses = self.get(refs, "while the actors started")
        actors = list(self._names.items())
        self._names = {
            f"{name} on host {pulse.host}": actor for (name, actor), pulse in zip(actors, self.pulses, strict=True)
        }

    def on_this_host(self) -> bool:
        """Return whether all actors are on the driver's host, as Ray sees it."""
        here = ray.get_runtime_context().get_node_id()
        return all(pulse.node == here for pulse in self.pulses)

    def other_arithmetic(self) -> Iterator[str]:
        """Say which hosts may compute other bits than this one."""
        here = fingerprint()
        for host, there in {pulse.host: pulse.arithmetic for pulse in self.pulses}.items():
            changed = [f"{name} {there[name]} (here {here[name]})" for name in here if there[name] != here[name]]
            if changed:
                yield f"host {host} computes with {', '.join(changed)}: its bits may differ"

    def get(self, refs: list[Any], when: str) -> list[Any]:
        """Wait for answers; whoever does not even answer a pulse within --timeout is named and counts as lost."""
        half = self.config.timeout / 2
        try:
            while len(ray.wait(refs, num_returns=len(refs), timeout=half)[0]) < len(refs):
                self._check_pulses(when, half)
            return list(ray.get(refs))
        except RayTaskError as error:
            if isinstance(error.cause, PeerLostError):
                raise PeerLostError(str(error.cause)) from error
            # An actor lost while its answer was on the way to another shows as that call's cause.
            if isinstance(error.cause, RayActorError):
                raise self.died(when) from error
            raise
        except RayActorError as error:
            raise self.died(when) from error

    def _check_pulses(self, when: str, seconds: float) -> None:
        pulses = {actor.pulse.remote(): name for name, actor in self._names.items()}
        _, silent = ray.wait(list(pulses), num_returns=len(pulses), timeout=seconds)
        if silent:
            names = ", ".join(pulses[pulse] for pulse in silent)
            raise PeerLostError(f"no answer from {names} for {self.config.timeout:g} s {when} (--timeout)")

    def died(self, when: str) -> PeerLostError:
        """Return the error that names the actors that are gone; Ray needs a moment to know."""
        deadline = time.monotonic() + self.config.timeout
        gone: list[str] = []
        while not gone and time.monotonic() < deadline:
            for name, actor in self._names.items():
                try:
                    ray.get(actor.pulse.remote(), timeout=1)
                except RayActorError:
                    gone.append(name)
                except GetTimeoutError:
                    pass
        return PeerLostError(f"{' and '.join(gone) or 'an actor'} died {when}")


def with_cluster_workers(config: Config) -> Config:
    """Return the settings with a number of workers that the cluster has CPUs for; ``auto`` is one per shard at most.

    Raises:
        ClusterError: more workers are asked for than the cluster has CPUs.
    """
    assert config.shards is not None
    there = int(ray.cluster_resources().get("CPU", 0))
    if config.workers == "auto":
        return replace(config, workers=max(1, min(there, config.shards)))
    if config.workers > there:
        raise ClusterError(
            f"--workers {config.workers} needs as many CPUs, the cluster at {config.address} has {there}: "
            f"use --workers {there} or fewer"
        )
    return config


@contextmanager
def crew_of(
    structure: Structure, config: Config, rows: Rows, state: Array, step: int, note: Callable[[str], None]
) -> Iterator[Crew]:
    """Start the actors, wait until all have answered; kill them at the end, which on a cluster nobody else would."""
    # Put once and passed by reference: Ray keeps one copy per host, which its workers map read-only.
    x, y, factor = ray.put(rows.x), ray.put(rows.y), rows.factor
    del rows  # this frame lives as long as the run, and the driver needs no copy of its own
    actors: list[Any] = []
    try:
        actors.append(RemoteServer.options(num_cpus=0 if config.address else 1).remote(structure, config, state, step))
        for _ in range(config.worker_count):
            actors.append(RemoteWorker.remote(structure, config, x, y, factor))
        crew = Crew(config, actors[0], actors[1:])
        crew.wait_until_started()
        for text in crew.other_arithmetic():
            note(text)
        yield crew
    finally:
        for actor in actors:
            ray.kill(actor)
