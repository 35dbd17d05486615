"""The CPUs of a cluster that Ray keeps for a run's workers, and on which hosts they are."""

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

_PATIENCE_SECONDS = 3.0
"""What Ray may take to find free CPUs without a word being said."""
_REMOVE_SECONDS = 5.0
"""What the head may take to give CPUs back."""
_CPUS_SECONDS = 0.5
"""Between two looks at what a cluster has."""
_OTHERS_SECONDS = 1.0
"""What Ray may take to find free CPUs beyond those to begin with."""
_LOOK_SECONDS = 0.05


class Placement:
    """A CPU for each worker, by number: as many as the run needs to begin at once, the others as there is room.

    Ray packs them on as few hosts as have room, and finds other room for those of a host that has died. A cluster that
    grows with what is asked for sees them.
    """

    def __init__(self, config: Settings) -> None:
        self._least, self._most = config.workers.least, config.workers.most
        gang = placement_group([{"CPU": 1}] * self._least, strategy="PACK")
        self._groups = [gang]
        self._bundles = [(gang, bundle) for bundle in range(self._least)]

    def is_there(self, seconds: float) -> bool:
        """Wait until the CPUs to begin with are there."""
        return self._wait_for(self._groups, seconds)

    def ask_for_the_others(self) -> None:
        """Ask for the CPUs beyond those to begin with: not before, since one by one they would take what those need."""
        others = [placement_group([{"CPU": 1}]) for _ in range(self._least, self._most)]
        self._groups += others
        self._bundles += [(group, 0) for group in others]
        self._wait_for(others, _OTHERS_SECONDS)  # those that are free are there at once

    @staticmethod
    def _wait_for(groups: Iterable[Any], seconds: float) -> bool:
        """Wait until all of these are there, or one is not for so long."""
        until = time.monotonic() + seconds
        for group in groups:
            while placement_group_table(group)["state"] != "CREATED":
                if time.monotonic() > until:
                    return False
                time.sleep(_LOOK_SECONDS)  # Ray's own wait takes no signals
        return True

    def strategy(self, number: int) -> Any:
        """Return what lets Ray start something in the place of worker ``number``."""
        group, bundle = self._bundles[number]
        return PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle)

    def hosts(self) -> dict[str, list[int]]:
        """Return the numbers of the workers for which there is a CPU now, by Ray's name of the host.

        There are none where Ray's head has no time to say so; it is asked again.
        """
        try:
            tables = [placement_group_table(group)["bundles_to_node_id"] for group in self._groups]
        except RayError:
            return {}
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

    def __init__(self, config: Settings) -> None:
        """Take one for each worker.

        Raises:
            ClusterError: the group has too few.
        """
        group, free = get_current_placement_group(), free_bundles() or []
        if len(free) < config.workers.most:
            raise ClusterError(
                f"{config.workers.most} workers need as many CPUs of the placement group that this process is in, "
                f"it has {len(free)} left: use --workers {len(free)}, or make the group larger"
            )
        self._least = self._most = config.workers.most
        self._groups = [group]
        self._bundles = [(group, bundle) for bundle in free[: config.workers.most]]

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
def placed(config: Settings, note: Callable[[str], None]) -> Iterator[Placement]:
    """Keep CPUs for the workers; where others use them, wait and say so.

    Raises:
        ClusterError: they are not free after --wait.
    """
    placement = Placement(config) if get_current_placement_group() is None else GivenPlacement(config)
    try:
        if not placement.is_there(_PATIENCE_SECONDS):
            _wait(placement, config, note)
        placement.ask_for_the_others()
        yield placement
    except HeadLostError:  # which would have to be asked
        raise
    except BaseException:
        placement.remove()
        raise
    placement.remove()


def _wait(placement: Placement, config: Settings, note: Callable[[str], None]) -> None:
    """Wait for the CPUs to begin with, which Ray has been asked for; say what they are waited for with.

    Raises:
        ClusterError: they are not there after --wait.
    """
    needed, where = config.workers.least, f" at {config.address}" if config.address else ""
    what = f"--workers {config.workers} needs {needed} CPUs"
    deadline, known = time.monotonic() + config.wait, -1
    while True:
        there = _cpus()
        if there < needed:
            found = f"the cluster{where} has {there}"
            waits_for = "more; if it has an autoscaler, that was asked"
        else:
            free = int(ray.available_resources().get("CPU", 0))
            found, waits_for = f"the cluster has {there}, of which {free} are free", "them"
        if known < 0:
            note(f"{what}, {found}: waiting {config.wait:g} s for {waits_for}, --wait to change")
        elif there != known:
            note(f"{what}, {found} now")
        known = there
        if placement.is_there(_CPUS_SECONDS):
            return
        if time.monotonic() > deadline:
            break
    hint = "wait for the others, or use fewer --workers"
    if there < needed:
        hint = f"{f'use --workers {there} or fewer' if there else 'start some'}, or a longer --wait"
    raise ClusterError(f"{what}, {found} after {config.wait:g} s: {hint}")


def with_cluster_workers(config: Settings) -> Settings:
    """Return the settings with a number of workers where it is ``auto``: one for each CPU, one per shard at most.

    A cluster that has none yet, and may grow, is asked for one to begin with and the others as they come.
    """
    if not config.workers.is_auto:
        return config
    there = _cpus()
    return config.with_workers(min(there, config.shards) if there else f"1..{config.shards}")


def _cpus() -> int:
    return int(ray.cluster_resources().get("CPU", 0))
