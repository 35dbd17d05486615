"""The actor for one host of several: it serves the host's workers, and exchanges sums with the other hosts."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import ray

from distbp.actors.actor_base import Pinged, remote
from distbp.actors.slots import Slots
from distbp.actors.training_actors import RemoteWorker
from distbp.actors.worker_group import fetch, longest_start
from distbp.config import Settings
from distbp.data.dataset import Array, Rows
from distbp.errors import ClusterError, TrainingError
from distbp.nn.structure import Structure
from distbp.parallel.host.host import Host
from distbp.parallel.host.messages import RunEnded
from distbp.parallel.mesh.cost import Rates
from distbp.parallel.mesh.reachability import first_unreachable
from distbp.parallel.mesh.view import View
from distbp.parallel.step.records import StepRecord
from distbp.system.blas import pin_threads

_MAINTENANCE_SECONDS = 0.25
_END_SECONDS = 5.0


class HostStatus(NamedTuple):
    """What has happened on a host since the driver's last call."""

    ended: RunEnded | None
    """The server's answer to the driver's last request, once it has ended."""
    notes: list[str]
    records: list[StepRecord]
    lost: int
    """Workers that this host has lost so far."""
    spent: list[float]
    """Seconds that each worker has computed so far; the last number is the server's own time."""


class _Host(Pinged):
    """A :class:`Host` and the actors that are its workers, which end with it."""

    def __init__(self, structure: Structure, config: Settings, rows: Sequence[Any]) -> None:
        """Take the rows as :func:`distbp.actors.worker_group.put_rows` returns them."""
        pin_threads(config.threads)
        self._structure, self._config, self._rows = structure, config, rows
        self._workers: dict[int, Any] = {}
        self._notes: list[str] = []
        self._error: TrainingError | ClusterError | None = None
        self._next_maintenance = 0.0
        self._is_ending = False
        self._host: Host
        self._slots: Slots

    def begin(self, strategies: Sequence[Any]) -> tuple[str, int]:
        """Fetch the rows, create the shared memory and start a worker for each strategy; return the host's address."""
        address = ray.util.get_node_ip_address()
        x, y, factor, _, encoding = self._rows
        rows = Rows(fetch(x), fetch(y), factor, encoding=encoding)
        if self._is_ending:  # nothing would remove the shared memory
            raise TrainingError("the run has ended")
        self._host = Host(self._structure, self._config, rows, len(strategies), address)

        def start(number: int) -> Any:
            if number in self._workers:
                ray.kill(self._workers[number])
            actor_class = RemoteWorker.options(scheduling_strategy=strategies[number])
            self._workers[number] = actor_class.remote(self._structure, self._config, *self._rows)
            return self._workers[number]

        def name(number: int) -> str:
            return f"worker {number} of host {self.ping().host}"

        self._slots = Slots(
            self._host.memory,
            self._config,
            start,
            name,
            self._notes.append,
            longest_start(self._config),
            sends_layers=True,
        )
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._slots.maintain()
        self._host.wait_for_workers(self._config.timeout / 2)
        return self._host.address

    @ray.method(concurrency_group="status")  # type: ignore[untyped-decorator] # Ray is seen as untyped here
    def end(self) -> None:
        """Make a :meth:`begin` that has not yet created the shared memory fail."""
        self._is_ending = True

    def _serve(self) -> None:
        try:
            self._host.serve()
        except (TrainingError, ClusterError) as error:
            self._error = error

    def join_view(self, view: View, number: int, step: int, secret: bytes) -> dict[int, str]:
        """Connect to the other hosts of a view; return the hosts not reached, with reasons."""
        return self._host.join_view(view, number, step, secret)

    def reach(self, addresses: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """Try to connect to other hosts; return the first that is not reached, with the reason."""
        return first_unreachable(addresses, self._config.timeout)

    def rates(self) -> Rates:
        """Return the bandwidth of this host's link and the seconds for each product."""
        return self._host.rates()

    def agree(self, layers: Sequence[int]) -> None:
        """Send these layers as factors in this view."""
        self._host.agree(layers)

    def leave(self) -> None:
        """Leave the view; a running step ends without its update."""
        self._host.leave()

    def run(self, first: int, stop: int, factor: float) -> None:
        """Start the steps from ``first`` to before ``stop``."""
        self._host.run(first, stop, factor)

    def halt(self) -> None:
        """Stop all hosts after the running step; works on the view's first host alone."""
        self._host.halt()

    @ray.method(concurrency_group="status")  # type: ignore[untyped-decorator] # Ray is seen as untyped here
    def status(self, known: int, wants_records: bool) -> HostStatus:
        """Wait a moment; return the events since the last call, with the records from step ``known`` on if wanted.

        Raises:
            TrainingError: the host's server loop has ended with this error.
        """
        if self._error is not None:
            raise self._error
        try:
            messages, records = self._host.messages(known)
        except TrainingError:
            self._thread.join(_END_SECONDS)  # the loop's own error gives the cause
            if self._error is not None:
                raise self._error from None
            raise
        ended = None
        for message in messages:
            if isinstance(message, RunEnded):
                ended = message
            else:
                self._slots.handle(message)
        if time.monotonic() > self._next_maintenance:
            self._next_maintenance = time.monotonic() + _MAINTENANCE_SECONDS
            self._slots.maintain()
        notes, self._notes[:] = list(self._notes), []
        spent = self._host.memory.spent.tolist()
        return HostStatus(ended, notes, records if wants_records else [], self._slots.lost, spent)

    def state(self, step: int) -> Array:
        """Return weights and optimizer state after ``step`` steps, the latest or the one before."""
        return self._host.state(step)

    def restart(self, state: Array, step: int) -> None:
        """Continue from this state after ``step`` steps."""
        self._host.restart(state, step)

    def bytes_sent(self) -> int:
        """Return the bytes that this host has sent to other hosts."""
        return self._host.bytes_sent

    def close(self) -> None:
        """End the server loop and the workers, and remove the shared memory."""
        if not hasattr(self, "_slots"):  # begin() was not called or has failed
            return
        calls = self._slots.calls
        self._host.close()
        self._thread.join(_END_SECONDS)
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=_END_SECONDS)
        for worker in self._workers.values():
            ray.kill(worker)


RemoteHost: Any = remote(_Host)
