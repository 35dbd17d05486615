"""Find and remove what a test with a real Ray leaves behind, and fail that test."""

import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest
from processes import HANG_SECONDS, leftovers

MARK = "DISTBP_TEST"
"""Environment variable that names the test that started a process."""
SECONDS = HANG_SECONDS
"""What Ray may take to see that its driver has ended: a minute on a busy machine, more on a slow one."""
OF_PYTHON = ("joblib.externals.loky", "multiprocessing.resource_tracker")
"""What scikit-learn and Python start once and keep for the next test, until the process of the tests ends."""
FAILED = pytest.StashKey[bool]()
"""Whether a test has failed already."""


def checked(item: pytest.Item, shares_a_ray: bool) -> Iterator[None]:
    """Mark what a test starts; afterwards wait until all of it has ended, else kill it and fail the test.

    After a failed test everything is killed at once.
    """
    mark = os.environ[MARK] = uuid.uuid4().hex
    folders = leftovers()

    def left() -> list[str]:
        found = [f"process {process.pid}: {' '.join(process.cmdline())[:200]}" for process in of_test(mark)]
        # A process killed together with its Ray or host leaves folders; the next run there removes them.
        return found + (sorted(leftovers() - folders) + left_in_ray() if shares_a_ray else [])

    yield
    del os.environ[MARK]
    try:
        what = until_nothing(left, 0.0 if item.stash.get(FAILED, False) else SECONDS)
    finally:
        end(of_test(mark))
        if shares_a_ray:
            end_actors()
        for folder in leftovers() - folders:
            shutil.rmtree(folder, ignore_errors=True)
    assert not what or item.stash.get(FAILED, False), f"still there {SECONDS:g} s after the test: {what}"


def until_nothing(left: Callable[[], list[str]], seconds: float) -> list[str]:
    """Wait until nothing is left; return what is still left after this many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(psutil.NoSuchProcess):
            what = left()
            if not what or time.monotonic() > deadline:
                return what
        time.sleep(0.05)


def of_test(mark: str) -> list[psutil.Process]:
    """Return the processes whose environment carries the mark."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            is_kept = any(name in " ".join(process.cmdline()) for name in OF_PYTHON)
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE and not is_kept:
                found.append(process)
    return [process for process in found if process.pid != os.getpid()]


def end(processes: list[psutil.Process]) -> None:
    """Kill processes and wait for their end."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes)


def left_in_ray() -> list[str]:
    """Return what runs have left in the connected Ray: actors and reserved CPUs."""
    import ray
    from ray.util.placement_group import placement_group_table

    if not ray.is_initialized():
        return []
    taken = [group["placement_group_id"] for group in placement_group_table().values() if group["state"] != "REMOVED"]
    return [f"actor {actor['ActorClassName']}" for actor in alive()] + [f"placement group {group}" for group in taken]


def alive() -> list[dict[str, object]]:
    """Return the actors of runs that are alive or starting in the connected Ray."""
    from ray._private import state

    ours = ("_Worker", "_Server", "_Host")  # Ray Data keeps actors of its own
    return [actor for actor in state.actors().values() if actor["State"] != "DEAD" and actor["ActorClassName"] in ours]


def end_actors() -> None:
    """Kill the actors and release the CPUs that a run has left."""
    import ray
    from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

    if not ray.is_initialized():
        return
    for actor in alive():
        with suppress(ProcessLookupError):
            os.kill(int(actor["Pid"]), signal.SIGKILL)  # type: ignore[call-overload]
    for group in placement_group_table().values():
        if group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group["placement_group_id"]))))
