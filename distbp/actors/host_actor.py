"""The actor that stands for one host of several: it serves the host's workers, and exchanges sums with other hosts."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import ray

from distbp.actors.slots import Slots
from distbp.actors.worker_actors import Alive, RemoteWorker, remote
from distbp.actors.worker_group import got, longest_start
from distbp.config import Settings
from distbp.data.dataset import Array, Rows
from distbp.errors import ClusterError, TrainingError
from distbp.nn.structure import Structure
from distbp.parallel.host.host import Host
from distbp.parallel.mesh.cost import Rates
from distbp.parallel.mesh.reachability import first_unreachable
from distbp.parallel.mesh.view import View
from distbp.parallel.step.records import StepRecord
from distbp.system.blas import pin_threads

_CARE_SECONDS = 0.25
_END_SECONDS = 5.0


class HostStatus(NamedTuple):
    """What has happened on a host since the driver asked last."""

    done: dict[str, Any] | None
    """What the host's rounds say once they have come to an end (see messages.done_news)."""
    notes: list[str]
    records: list[StepRecord]
    lost: int
    """Workers that this host has lost so far."""
    spent: list[float]
    """Seconds that each of its workers has computed so far, and last those that its rounds took after that."""


class _Host(Alive):
    """A :class:`Host` and the actors that are its workers, which end with it."""

    def __init__(self, structure: Structure, config: Settings, rows: Sequence[Any]) -> None:
        """Take what :func:`distbp.actors.worker_group.put_rows` returned."""
        pin_threads(config.threads)
        self._structure, self._config, self._rows = structure, config, rows
        self._workers: dict[int, Any] = {}
        self._notes: list[str] = []
        self._error: TrainingError | ClusterError | None = None
        self._next_care = 0.0
        self._is_ending = False
        self._host: Host
        self._places: Slots

    def begin(self, strategies: Sequence[Any]) -> tuple[str, int]:
        """Get the rows, make room, and start a worker for each of these places; return this host's address."""
        address = ray.util.get_node_ip_address()
        x, y, factor, _, encoding = self._rows
        rows = Rows(got(x), got(y), factor, encoding=encoding)
        if self._is_ending:  # nothing is made that nobody would take away
            raise TrainingError("the run has ended")
        self._host = Host(self._structure, self._config, rows, len(strategies), address)
        exchange, self._strategies = self._host.exchange, strategies

        def start(number: int) -> Any:
            if number in self._workers:
                ray.kill(self._workers[number])
            shell = RemoteWorker.options(scheduling_strategy=strategies[number])
            self._workers[number] = shell.remote(self._structure, self._config, *self._rows)
            return self._workers[number]

        def name(number: int) -> str:
            return f"worker {number} of host {self.pulse().host}"

        self._places = Slots(
            exchange, self._config, start, name, self._notes.append, longest_start(self._config), tells_layers=True
        )
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._places.care()
        self._host.wait_for_workers(self._config.timeout / 2)
        return self._host.address

    @ray.method(concurrency_group="news")  # type: ignore[untyped-decorator] # Ray is seen as untyped here
    def end(self) -> None:
        """Let :meth:`begin` come to nothing, if it has not made anything yet."""
        self._is_ending = True

    def _serve(self) -> None:
        try:
            self._host.serve()
        except (TrainingError, ClusterError) as error:
            self._error = error

    def meet(self, view: View, here: int, step: int, secret: bytes) -> dict[int, str]:
        """Connect to the other hosts of a view; return who did not come, and why."""
        return self._host.meet(view, here, step, secret)

    def reach(self, addresses: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """Try to connect to other hosts; return those that are not reached, and why."""
        return first_unreachable(addresses, self._config.timeout)

    def rates(self) -> Rates:
        """Return how quick this host's link and products are."""
        return self._host.rates()

    def agree(self, layers: Sequence[int]) -> None:
        """Let these layers travel as their factors."""
        self._host.agree(layers)

    def leave(self) -> None:
        """End the exchange; a step that is going on ends undone."""
        self._host.leave()

    def run(self, first: int, stop: int, factor: float) -> None:
        """Begin to do the steps from ``first`` on to before ``stop``."""
        self._host.run(first, stop, factor)

    def halt(self) -> None:
        """Let the steps of all hosts end after the one that is going on, if this is the view's first host."""
        self._host.halt()

    @ray.method(concurrency_group="news")  # type: ignore[untyped-decorator] # Ray is seen as untyped here
    def news(self, known: int, wants_records: bool) -> HostStatus:
        """Wait a moment; say what has happened. Of the records those from step ``known`` on are wanted, if any.

        Raises:
            TrainingError: the host's rounds have ended with it.
        """
        if self._error is not None:
            raise self._error
        try:
            told, records = self._host.news(known)
        except TrainingError:
            self._thread.join(_END_SECONDS)  # whose error says more
            if self._error is not None:
                raise self._error from None
            raise
        done = None
        for news in told:
            if "done" in news:
                done = news
            else:
                self._places.hear(news)
        if time.monotonic() > self._next_care:
            self._next_care = time.monotonic() + _CARE_SECONDS
            self._places.care()
        notes, self._notes[:] = list(self._notes), []
        return HostStatus(
            done, notes, records if wants_records else [], self._places.lost, self._host.exchange.spent.tolist()
        )

    def state(self, step: int) -> Array:
        """Return weights and optimizer state after ``step`` steps, the newest or the one before."""
        return self._host.state(step)

    def restart(self, state: Array, step: int) -> None:
        """Go on from this state after ``step`` steps."""
        self._host.restart(state, step)

    def bytes_sent(self) -> int:
        """Return how many bytes this host has sent to others."""
        return self._host.sent

    def close(self) -> None:
        """Let rounds and workers end, and take everything away."""
        if not hasattr(self, "_places"):  # it has never begun
            return
        calls = self._places.calls
        self._host.close()
        self._thread.join(_END_SECONDS)
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=_END_SECONDS)
        for worker in self._workers.values():
            ray.kill(worker)


RemoteHost: Any = remote(_Host)
