"""Reserve a cluster's CPUs for a run's workers, by placement groups of Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import (
    get_current_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from distbp.actors.connection.calls import within
from distbp.config import Settings
from distbp.errors import ClusterError, HeadLostError

_QUIET_SECONDS = 3.0
"""Wait this long for free CPUs before a note reports the wait."""
_REMOVE_SECONDS = 5.0
"""Time limit for the head to release CPUs."""
_CPUS_SECONDS = 0.5
"""Interval between two queries of the cluster's CPUs."""
_OPTIONAL_SECONDS = 1.0
"""Time limit for Ray to find free CPUs beyond the minimum."""
_POLL_SECONDS = 0.05


class Placement:
    """A CPU for each worker: one placement group for the minimum number of workers, and one for each further worker.

    Ray packs them onto as few hosts as possible, and reserves new CPUs when a host dies. A cluster with an autoscaler
    grows by the placement groups that are pending.
    """

    def __init__(self, config: Settings) -> None:
        self._least, self._most = config.workers.least, config.workers.most
        gang = placement_group([{"CPU": 1}] * self._least, strategy="PACK")
        self._groups = [gang]
        self._bundles = [(gang, bundle) for bundle in range(self._least)]

    def is_ready(self, seconds: float) -> bool:
        """Wait for the minimum number of CPUs; return whether Ray has reserved them."""
        return self._wait_for(self._groups, seconds)

    def request_optional(self) -> None:
        """Request the CPUs beyond the minimum; requested earlier, they would take CPUs that the minimum needs."""
        optional = [placement_group([{"CPU": 1}]) for _ in range(self._least, self._most)]
        self._groups += optional
        self._bundles += [(group, 0) for group in optional]
        self._wait_for(optional, _OPTIONAL_SECONDS)  # free CPUs are reserved at once

    @staticmethod
    def _wait_for(groups: Iterable[Any], seconds: float) -> bool:
        """Wait up to ``seconds`` until Ray has reserved all of these groups; return whether it has."""
        deadline = time.monotonic() + seconds
        for group in groups:
            while placement_group_table(group)["state"] != "CREATED":
                if time.monotonic() > deadline:
                    return False
                time.sleep(_POLL_SECONDS)  # Ray's own wait blocks signal handlers
        return True

    def strategy(self, number: int) -> Any:
        """Return the scheduling strategy that uses the CPU of worker ``number``."""
        group, bundle = self._bundles[number]
        return PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle)

    def hosts(self) -> dict[str, list[int]]:
        """Return the numbers of the workers that have a CPU now, by Ray's id of the host.

        The result is empty if Ray's head is too busy to answer; callers ask again.
        """
        try:
            tables = [placement_group_table(group)["bundles_to_node_id"] for group in self._groups]
        except RayError:
            return {}
        numbers: dict[str, list[int]] = {}
        for number, (group, bundle) in enumerate(self._bundles):
            node = tables[self._groups.index(group)].get(bundle)
            if node:
                numbers.setdefault(node, []).append(number)
        return numbers

    def remove(self) -> None:
        """Release the CPUs; a head that does not answer releases them itself once this process is gone."""

        def remove_all() -> None:
            with suppress(RayError):
                for group in self._groups:
                    remove_placement_group(group)

        within(_REMOVE_SECONDS, remove_all)


class GivenPlacement(Placement):
    """CPUs of the placement group in which this process runs, such as that of a Ray Tune trial."""

    def __init__(self, config: Settings) -> None:
        """Use one CPU for each worker.

        Raises:
            ClusterError: the group has too few CPUs.
        """
        group, free = get_current_placement_group(), free_bundles() or []
        if len(free) < config.workers.most:
            raise ClusterError(
                f"{config.workers.most} workers need as many CPUs, but this process's placement group has {len(free)} "
                f"left: use --workers {len(free)}, or make the group larger"
            )
        self._least = self._most = config.workers.most
        self._groups = [group]
        self._bundles = [(group, bundle) for bundle in free[: config.workers.most]]

    def remove(self) -> None:
        """Leave the group as it is: its creator removes it."""


def free_bundles() -> list[int] | None:
    """Return the bundle of each CPU in this process's placement group that the process itself does not use.

    Returns None outside a placement group.
    """
    group = get_current_placement_group()
    if group is None:
        return None
    own = int(ray.get_runtime_context().get_assigned_resources().get("CPU", 0))
    bundles = [bundle for bundle, spec in enumerate(group.bundle_specs) for _ in range(int(spec.get("CPU", 0)))]
    return bundles[own:]  # the process itself runs in the first bundle


def this_host() -> str:
    """Return Ray's id of the driver's host."""
    return str(ray.get_runtime_context().get_node_id())


def on_this_host() -> Any:
    """Return the scheduling strategy that uses the driver's host."""
    return NodeAffinitySchedulingStrategy(this_host(), soft=False)


@contextmanager
def placed(config: Settings, note: Callable[[str], None]) -> Iterator[Placement]:
    """Reserve CPUs for the workers for the length of the ``with`` block; wait for busy CPUs, with a note.

    Raises:
        ClusterError: the minimum number of CPUs is not free within --wait.
    """
    placement = Placement(config) if get_current_placement_group() is None else GivenPlacement(config)
    try:
        if not placement.is_ready(_QUIET_SECONDS):
            _wait(placement, config, note)
        placement.request_optional()
        yield placement
    except HeadLostError:  # only a head could release the CPUs
        raise
    except BaseException:
        placement.remove()
        raise
    placement.remove()


def _wait(placement: Placement, config: Settings, note: Callable[[str], None]) -> None:
    """Wait for the minimum number of CPUs; the note reports how many there are.

    Raises:
        ClusterError: they are not free within --wait.
    """
    needed, where = config.workers.least, f" at {config.address}" if config.address else ""
    what = f"--workers {config.workers} needs {needed} CPUs"
    deadline, noted = time.monotonic() + config.wait, -1
    while True:
        cpus = _cpus()
        if cpus < needed:
            state = f"the cluster{where} has {cpus}"
            awaited = "more, which an autoscaler may start"
        else:
            free = int(ray.available_resources().get("CPU", 0))
            state, awaited = f"the cluster has {cpus}, of which {free} are free", "them"
        if noted < 0:
            note(f"{what}, {state}: waiting up to {config.wait:g} s (--wait) for {awaited}")
        elif cpus != noted:
            note(f"{what}, {state} now")
        noted = cpus
        if placement.is_ready(_CPUS_SECONDS):
            return
        if time.monotonic() > deadline:
            break
    hint = "wait for the other jobs, or use fewer --workers"
    if cpus < needed:
        hint = f"{f'use --workers {cpus} or fewer' if cpus else 'start some'}, or a longer --wait"
    raise ClusterError(f"{what}, {state} after {config.wait:g} s: {hint}")


def with_cluster_workers(config: Settings) -> Settings:
    """Return the settings with ``auto`` workers replaced by one for each CPU, at most one per shard.

    On a cluster without CPUs, which may grow, the run starts with the first worker and adds the others as CPUs come.
    """
    if not config.workers.is_auto:
        return config
    cpus = _cpus()
    return config.with_workers(min(cpus, config.shards) if cpus else f"1..{config.shards}")


def _cpus() -> int:
    return int(ray.cluster_resources().get("CPU", 0))
