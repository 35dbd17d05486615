"""The CPUs of a cluster that Ray keeps for a run's workers, and on which hosts they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
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

from distbp.actors.calls import within
from distbp.config import Config
from distbp.errors import ClusterError, HeadLostError

_PATIENCE_SECONDS = 3.0
"""What Ray may take to find free CPUs without a word being said."""
_REMOVE_SECONDS = 5.0
"""What the head may take to give CPUs back."""
_CPUS_SECONDS = 0.5
"""Between two looks at what a cluster has."""


class Placement:
    """A CPU for each worker, by number: as many as the run needs to begin at once, the others as there is room.

    Ray packs them on as few hosts as have room, and finds other room for those of a host that has died.
    """

    def __init__(self, config: Config) -> None:
        least = config.least_workers
        gang = placement_group([{"CPU": 1}] * least, strategy="PACK")
        self._groups = [gang, *(placement_group([{"CPU": 1}]) for _ in range(least, config.worker_count))]
        self._bundles = [(gang, bundle) for bundle in range(least)] + [(group, 0) for group in self._groups[1:]]

    def is_there(self, seconds: float) -> bool:
        """Wait until the CPUs to begin with are there."""
        return bool(self._groups[0].wait(seconds))

    def strategy(self, number: int) -> Any:
        """Return what lets Ray start something in the place of worker ``number``."""
        group, bundle = self._bundles[number]
        return PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle)

    def hosts(self) -> dict[str, list[int]]:
        """Return the numbers of the workers for which there is a CPU now, by Ray's name of the host."""
        tables = [placement_group_table(group)["bundles_to_node_id"] for group in self._groups]
        found: dict[str, list[int]] = {}
        for number, (group, bundle) in enumerate(self._bundles):
            node = tables[self._groups.index(group)].get(bundle)
            if node:
                found.setdefault(node, []).append(number)
        return found

    def remove(self) -> None:
        """Give the CPUs back; where Ray's head does not answer, it does so itself once this process is gone."""

        def remove_all() -> None:
            with suppress(RayError):
                for group in self._groups:
                    remove_placement_group(group)

        within(_REMOVE_SECONDS, remove_all)


class GivenPlacement(Placement):
    """CPUs of the placement group that this process was started in, such as that of a trial of Ray Tune."""

    def __init__(self, config: Config) -> None:
        """Take one for each worker.

        Raises:
            ClusterError: the group has too few.
        """
        group, free = get_current_placement_group(), free_bundles() or []
        if len(free) < config.worker_count:
            raise ClusterError(
                f"{config.worker_count} workers need as many CPUs of the placement group that this process is in, "
                f"it has {len(free)} left: use --workers {len(free)}, or make the group larger"
            )
        self._groups = [group]
        self._bundles = [(group, bundle) for bundle in free[: config.worker_count]]

    def remove(self) -> None:
        """Leave the group to whoever made it."""


def free_bundles() -> list[int] | None:
    """Return the bundles of this process's placement group, once for each CPU that the process itself leaves free.

    None if it is in no group.
    """
    group = get_current_placement_group()
    if group is None:
        return None
    own = int(ray.get_runtime_context().get_assigned_resources().get("CPU", 0))
    slots = [bundle for bundle, kept in enumerate(group.bundle_specs) for _ in range(int(kept.get("CPU", 0)))]
    return slots[own:]  # a process has its place in the first bundle


def this_host() -> str:
    """Return Ray's name of the driver's host."""
    return str(ray.get_runtime_context().get_node_id())


def on_this_host() -> Any:
    """Return what lets Ray start something on the driver's host."""
    return NodeAffinitySchedulingStrategy(this_host(), soft=False)


@contextmanager
def placed(config: Config, note: Callable[[str], None]) -> Iterator[Placement]:
    """Keep CPUs for the workers; where others use them, wait and say so.

    Raises:
        ClusterError: they are not free after --wait.
    """
    placement = Placement(config) if get_current_placement_group() is None else GivenPlacement(config)
    try:
        if not placement.is_there(_PATIENCE_SECONDS):
            what = f"--workers {config.workers} needs {config.least_workers} CPUs"
            free = int(ray.available_resources().get("CPU", 0))
            busy = f"the cluster has {_cpus()}, of which {free} are free"
            note(f"{what}, {busy}: waiting {config.wait:g} s for them, --wait to change")
            if not placement.is_there(config.wait):
                raise ClusterError(
                    f"{what}, {busy} after {config.wait:g} s: wait for the others, or use fewer --workers"
                )
        yield placement
    except HeadLostError:  # which would have to be asked
        raise
    except BaseException:
        placement.remove()
        raise
    placement.remove()


def with_cluster_workers(config: Config, note: Callable[[str], None]) -> Config:
    """Return the settings with a number of workers that the cluster has CPUs for; ``auto`` is one per shard at most.

    Where it has too few, others may be starting: they are waited for.

    Raises:
        ClusterError: the cluster has too few CPUs after --wait.
    """
    assert config.shards is not None
    needed = 1 if config.workers == "auto" else config.least_workers
    deadline, told = time.monotonic() + config.wait, False
    while (there := _cpus()) < needed:
        where = f" at {config.address}" if config.address else ""
        what = f"--workers {config.workers} needs {needed} CPUs, the cluster{where} has {there}"
        if time.monotonic() > deadline:
            hint = f"use --workers {there} or fewer, or" if there else "start some, or"
            raise ClusterError(f"{what} after {config.wait:g} s: {hint} a longer --wait")
        if not told:
            told = True
            note(f"{what}: waiting {config.wait:g} s for more, --wait to change")
        time.sleep(_CPUS_SECONDS)
    return replace(config, workers=max(1, min(there, config.shards))) if config.workers == "auto" else config


def _cpus() -> int:
    return int(ray.cluster_resources().get("CPU", 0))
