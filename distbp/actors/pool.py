"""The pool of actors: one parameter server and the workers, driven step by step through Ray's actor calls."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from distbp.actors.session import ray_session
from distbp.config import Config
from distbp.data.dataset import Array, Rows
from distbp.data.order import Order
from distbp.errors import ClusterError, PeerLostError
from distbp.nn.structure import Structure
from distbp.parallel.arithmetic import fingerprint
from distbp.parallel.pool import shards_of
from distbp.parallel.records import StepRecord
from distbp.parallel.shards import cut

if TYPE_CHECKING:
    from distbp.actors.shells import Pulse

_STORE_BYTES = 256 * 2**20
_VECTORS_IN_FLIGHT = 64
"""Gradients and weights that may lie in Ray's store at a time: it frees them some steps late."""


class ActorPool:
    """Actors on a private local Ray or on a cluster; leaving the ``with`` block stops all of them."""

    def __init__(
        self,
        structure: Structure,
        config: Config,
        rows: Rows,
        state: Array,
        note: Callable[[str], None],
        step: int = 0,
    ) -> None:
        assert config.shards is not None
        self._structure = structure
        self._config = config
        self._rows = rows
        self._initial = state
        self._note = note
        self._step = step
        self._order = Order(len(rows), config.batch_size, config.seed)
        self._shards = config.shards
        self._exit = ExitStack()
        self._server: Any = None
        self._workers: list[Any] = []
        self._peers: dict[str, Any] = {}
        """All actors by the names that messages give them."""

    def __enter__(self) -> Self:
        cores = os.cpu_count() or 1
        config = self._config
        if config.address is None and config.workers > cores:
            self._note(f"{config.workers} workers share the {cores} cores of this machine")
        payload = self._rows.x.nbytes + self._rows.y.nbytes + _VECTORS_IN_FLIGHT * self._initial[0].nbytes
        with ExitStack() as stack:
            stack.enter_context(ray_session(config.address, config.workers + 1, _STORE_BYTES + payload))
            stack.callback(self._stop)
            self._start()
            self._exit = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._exit.close()

    def _start(self) -> None:
        """Start the actors and wait until all have answered."""
        import ray

        from distbp.actors.shells import RemoteServer, RemoteWorker

        config = self._config
        if config.address is not None:
            there = int(ray.cluster_resources().get("CPU", 0))
            if config.workers > there:
                raise ClusterError(
                    f"--workers {config.workers} needs as many CPUs, the cluster at {config.address} "
                    f"has {there}: use --workers {there} or fewer"
                )
        # Put once and passed by reference: Ray keeps one copy per host, which its workers map read-only.
        x, y = ray.put(self._rows.x), ray.put(self._rows.y)
        self._server = RemoteServer.options(num_cpus=0 if config.address else 1).remote(
            self._structure, config, self._initial, self._step
        )
        self._workers = [
            RemoteWorker.remote(self._structure, config, x, y, self._rows.factor) for _ in range(config.workers)
        ]
        actors = {"the parameter server": self._server} | {f"worker {i}": w for i, w in enumerate(self._workers)}
        pulses = [actor.pulse.remote() for actor in actors.values()]
        ready, late = ray.wait(pulses, num_returns=len(pulses), timeout=config.wait)
        if late:
            raise ClusterError(
                f"{len(ready)} of {len(pulses)} actors started within {config.wait:g} s (--wait): "
                "the cluster has no room for the others"
            )
        self._peers = actors
        answers = self._get(pulses, "while the actors started")
        self._peers = {
            f"{name} on host {pulse.host}": actors[name] for name, pulse in zip(actors, answers, strict=True)
        }
        self._check_arithmetic(answers)

    def _check_arithmetic(self, pulses: list[Pulse]) -> None:
        """Say which hosts may compute other bits than this one."""
        here = fingerprint()
        for host, there in {pulse.host: pulse.arithmetic for pulse in pulses}.items():
            changed = [f"{name} {there[name]} (here {here[name]})" for name in here if there[name] != here[name]]
            if changed:
                self._note(f"host {host} computes with {', '.join(changed)}: its bits may differ")

    def steps(self, stop: int) -> Iterator[StepRecord]:
        """Do the steps up to before ``stop``; yield each one's record after its update was applied."""
        weights = self._server.pull.remote()
        while self._step < stop:
            whole = shards_of(self._order, self._step, self._shards)
            pushed = [
                worker.push.options(num_returns=2).remote(self._step, held, weights)
                for worker, held in zip(self._workers, cut(whole.stop, len(self._workers)), strict=False)
            ]
            reports, sums = zip(*pushed, strict=True)
            done, weights = self._server.update.options(num_returns=2).remote(self._step, *reports, *sums)
            record: StepRecord = self._get([done], f"in step {self._step}")[0]
            record.check()
            self._step += 1
            yield record

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters)."""
        return np.array(self._get([self._server.state.remote()], f"after step {self._step - 1}")[0])

    def _get(self, refs: list[Any], when: str) -> list[Any]:
        """Wait for answers; whoever does not even answer a pulse within --timeout is named and counts as lost."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        try:
            half = self._config.timeout / 2
            while len(ray.wait(refs, num_returns=len(refs), timeout=half)[0]) < len(refs):
                self._check_pulses(when, half)
            return list(ray.get(refs))
        except RayTaskError as error:
            # An actor lost while its answer was on the way to another shows as that call's cause.
            if not isinstance(error.cause, RayActorError):
                raise
            raise PeerLostError(f"{self._who_died()} {when}") from error
        except RayActorError as error:
            raise PeerLostError(f"{self._who_died()} {when}") from error

    def _check_pulses(self, when: str, seconds: float) -> None:
        import ray

        pulses = {actor.pulse.remote(): name for name, actor in self._peers.items()}
        _, silent = ray.wait(list(pulses), num_returns=len(pulses), timeout=seconds)
        if silent:
            names = ", ".join(pulses[pulse] for pulse in silent)
            raise PeerLostError(f"no answer from {names} for {self._config.timeout:g} s {when} (--timeout)")

    def _who_died(self) -> str:
        """Name the actors that are gone; Ray needs a moment to know."""
        import ray
        from ray.exceptions import RayActorError

        deadline = time.monotonic() + self._config.timeout
        while True:
            gone = []
            for name, actor in self._peers.items():
                try:
                    ray.get(actor.pulse.remote(), timeout=1)
                except RayActorError:
                    gone.append(name)
                except ray.exceptions.GetTimeoutError:
                    pass
            if gone or time.monotonic() > deadline:
                return f"{' and '.join(gone) or 'an actor'} died"

    def _stop(self) -> None:
        """Kill the actors; with a private Ray everything ends anyway, on a cluster nothing else would end them."""
        import ray

        for actor in (self._server, *self._workers):
            if actor is not None:
                ray.kill(actor)
        self._server, self._workers = None, []
