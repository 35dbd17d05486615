"""The executor on Ray: it connects to Ray, starts the actors, and chooses the executor for one host or for several."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self

from distbp.actors.connection.session import private_ray, ray_session
from distbp.config import Config, Settings, Workers
from distbp.data.dataset import Array, Rows
from distbp.errors import ClusterError, DistbpError, HeadLostError, PeerLostError
from distbp.nn.structure import Structure
from distbp.parallel.step.executor import Executor
from distbp.parallel.step.records import StepRecord, TimeSpent, WorkerRecord
from distbp.system.limits import cpu_count
from distbp.system.signals import signals_deferred


def cpus_for(config: Config) -> int:
    """Return the CPUs that a private Ray needs: one for each worker and one for the server."""
    workers = Workers.of(config.workers)
    return 0 if workers.is_auto else workers.most + 1


def session_for(config: Config, note: Callable[[str], None]) -> AbstractContextManager[bool]:
    """Return the connection to Ray for these settings (see :func:`ray_session`)."""
    return ray_session(config.address, cpus_for(config), config.insecure, config.wait, config.timeout, note)


class ActorExecutor:
    """Trains by actors on a private Ray or on a cluster; leaving the ``with`` block stops all of them."""

    def __init__(
        self,
        structure: Structure,
        config: Settings,
        rows: Rows,
        state: Array,
        note: Callable[[str], None],
        step: int = 0,
    ) -> None:
        self._structure = structure
        self.config = config
        self._rows: Rows | None = rows
        self._initial = state
        self._note = note
        self._first_step = step
        self._exit = ExitStack()
        self._session = self._exit.enter_context(ExitStack())
        self._is_private = config.address is None
        self._executor: Executor

    def __enter__(self) -> Self:
        config, rows = self.config, self._rows
        assert rows is not None
        cores = cpu_count()
        if config.address is None and config.workers.most > max(cores, config.workers.least):
            most = max(cores, config.workers.least)  # of a range, take what this machine has
            config = self.config = config.with_workers(f"{config.workers.least}..{most}")
        if config.address is None and config.workers.most > cores:
            self._note(f"{config.workers.most} workers share the {cores} cores of this machine")
        try:
            self._enter()
        except BaseException as error:
            explained = self._explained(error)
            self.__exit__(type(error), error, error.__traceback__)
            if explained is not None:
                raise explained from error
            raise
        return self

    def _explained(self, error: BaseException) -> DistbpError | None:
        """Return the error with the cause that the private Ray's logs show; None for another error, or on a cluster."""
        local = private_ray()
        if local is None or not isinstance(error, ClusterError | PeerLostError) or isinstance(error, HeadLostError):
            return None
        return type(error)(local.explained(str(error)))

    def _enter(self) -> None:
        config, rows = self.config, self._rows
        assert rows is not None
        is_private = self._is_private = self._session.enter_context(session_for(config, self._note))
        # These modules import Ray, which must see the environment that the session has prepared.
        from distbp.actors.connection.placement import placed, this_host, with_cluster_workers
        from distbp.actors.host_group import host_group
        from distbp.actors.many_hosts import ManyHostsExecutor
        from distbp.actors.one_host import one_host_executor
        from distbp.actors.worker_group import worker_group

        placement = None
        if not is_private:
            config = self.config = with_cluster_workers(config)
            placement = self._exit.enter_context(placed(config, self._note))
        structure, step = self._structure, self._first_step
        self._rows = None  # from here on, the actors use the copy in Ray's object store
        if placement is None or len(placement.hosts().get(this_host(), ())) == config.workers.most:
            group = self._exit.enter_context(worker_group(structure, config, rows, placement, self._note))
            one_host = one_host_executor(group, self._initial, step, structure.depth)
            self._executor = self._exit.enter_context(one_host)
        else:
            hosts = self._exit.enter_context(host_group(structure, config, rows, placement, self._note))
            many_hosts = ManyHostsExecutor(hosts, self._initial, step)
            many_hosts.start()
            self._executor = many_hosts

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with signals_deferred() as noted:
            if self._is_private:
                self._exit.__exit__(kind, error, at)
            else:
                from distbp.actors.connection.shutdown import close

                close(self._exit, self._session, error, self.config.wait, lambda: bool(noted))

    @property
    def step(self) -> int:
        """The number of steps done."""
        return self._executor.step

    def steps(self, stop: int, factor: float = 1.0) -> Generator[StepRecord, None, None]:
        """Do the steps up to before ``stop``; yield each step's record after its update."""
        return self._executor.steps(stop, factor)

    @property
    def recoveries(self) -> int:
        """Workers, servers and hosts lost so far, none of which changed the result."""
        return self._executor.recoveries

    def spent(self) -> TimeSpent:
        """Return the time that workers and servers have spent so far."""
        return self._executor.spent()

    def workers(self) -> list[WorkerRecord]:
        """Return the connected workers, for display."""
        return self._executor.workers()

    def halt(self) -> None:
        """Let :meth:`steps` end after the running step."""
        self._executor.halt()

    def restart(self, state: Array, step: int) -> None:
        """Go back to ``state``, which is the state after ``step`` steps."""
        self._executor.restart(state, step)

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters)."""
        return self._executor.state()
