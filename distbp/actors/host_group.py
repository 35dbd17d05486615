"""The actors for a run's hosts: started where workers have CPUs, replaced, and always stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError, RayTaskError

from distbp.actors.connection.calls import death, in_brackets, is_loss, within
from distbp.actors.connection.placement import Placement, this_host
from distbp.actors.host_actor import RemoteHost
from distbp.actors.host_handle import HostHandle, JoiningHost
from distbp.actors.retries import Retries
from distbp.actors.worker_group import longest_start, other_arithmetic, put_rows, send_by_value
from distbp.config import Settings
from distbp.data.dataset import Rows
from distbp.errors import ClusterError, DataError, PeerLostError, TrainingError
from distbp.nn.structure import Structure

_RETRY_SECONDS = 2.0
"""Shortest time between two starts of a host for the same slots."""
_CLOSE_SECONDS = 3.0
_END_SECONDS = 15.0


class _Ending(NamedTuple):
    """An actor that is removing its shared memory."""

    actor: Any
    call: Any
    until: float
    """When it is killed."""


class HostGroup:
    """The hosts of a run: members, newcomers, and hosts that are joining."""

    def __init__(
        self,
        structure: Structure,
        config: Settings,
        rows: Rows,
        placement: Placement,
        note: Callable[[str], None],
    ) -> None:
        send_by_value(structure, config, rows)
        self._rows = put_rows(rows)
        self.batch_size = min(config.batch_size, len(rows))
        self.structure, self.config, self._placement, self.note = structure, config, placement, note
        self.members: list[HostHandle] = []
        """The hosts that train, in the order of their shards."""
        self.newcomers: list[HostHandle] = []
        """The hosts that are ready and are not members yet."""
        self._data_errors: dict[int, str] = {}
        """For each worker slot on a host that cannot read the data, that host's error."""
        self._joining: list[JoiningHost] = []
        self._retries = Retries()
        self._ending: list[_Ending] = []

    def start(self) -> None:
        """Start a host on each node that has worker slots without a host."""
        taken = {number for joining in self._joining for number in joining.numbers}
        taken |= {number for member in self.newcomers for number in member.numbers}
        for node, numbers in self._placement.hosts().items():
            used = {number for member in self.members if member.ping.node == node for number in member.numbers}
            free = tuple(number for number in numbers if number not in used | taken)
            if free and self._retries.is_due(node, free):
                self._retries.pause(node, free, _RETRY_SECONDS)
                actor_class = RemoteHost.options(num_cpus=0, scheduling_strategy=self._placement.strategy(free[0]))
                actor = actor_class.remote(self.structure, self.config, self._rows)
                until = time.monotonic() + longest_start(self.config)
                self._joining.append(JoiningHost(actor, node, free, actor.ping.remote(), until))

    @property
    def ready(self) -> int:
        """The number of worker slots on hosts that are ready."""
        return sum(len(member.numbers) for member in self.newcomers)

    @property
    def without_data(self) -> int:
        """The number of worker slots on hosts that cannot read the data."""
        return len(self._data_errors)

    def check_data(self) -> None:
        """Raise DataError if no host can read the data."""
        if not self._data_errors:
            return
        placed = {number for numbers in self._placement.hosts().values() for number in numbers}
        if placed and placed <= self._data_errors.keys():
            raise DataError(f"no host can read the data: {list(self._data_errors.values())[-1]}")

    @property
    def is_any_getting_ready(self) -> bool:
        """Whether a host has started and is not ready yet."""
        return any(joining.handle is not None for joining in self._joining)

    def poll(self) -> None:
        """Advance the hosts that are joining; give up those that died or take too long.

        A newcomer gets its rows and its memory here, while the members train.

        Raises:
            TrainingError: a host cannot be started at all, or has failed.
            ClusterError: a host has too little shared memory.
        """
        for ending in list(self._ending):
            if ray.wait([ending.call], timeout=0)[0] or time.monotonic() > ending.until:
                self._ending.remove(ending)
                ray.kill(ending.actor)
        for joining in list(self._joining):
            if ray.wait([joining.call], timeout=0)[0]:
                self._joining.remove(joining)
                self._advance(joining)
            elif time.monotonic() > joining.until:
                self._joining.remove(joining)
                ray.kill(joining.actor)
                if joining.handle is not None:
                    self._retries.pause(joining.node, joining.numbers, self.config.wait)
                    self.note(f"{joining.handle.name} was not ready within {self.config.wait:g} s (--wait)")

    def _advance(self, joining: JoiningHost) -> None:
        if joining.handle is None:
            self._on_started(joining)
        elif joining.is_ready:
            self._on_tried(joining, joining.handle)
        else:
            self._on_ready(joining, joining.handle)

    def _on_started(self, joining: JoiningHost) -> None:
        """Let a host whose process has started fetch its rows and create its memory."""
        try:
            ping = ray.get(joining.call)
        except RayError as error:
            ray.kill(joining.actor)
            try:
                cause = death(error, "a host")
            except PeerLostError:
                self._retries.never(joining.node, joining.numbers)
                raise
            self.note(f"a host died while it was starting{in_brackets(cause)}: another one is started")
            return
        for text in other_arithmetic([ping]):
            self.note(text)
        joining.handle = HostHandle(joining.actor, ping, joining.numbers)
        joining.call = joining.actor.begin.remote([self._placement.strategy(number) for number in joining.numbers])
        joining.until = time.monotonic() + self.config.wait
        self._joining.append(joining)

    def _on_ready(self, joining: JoiningHost, member: HostHandle) -> None:
        """Let a host that is ready try to reach the members."""
        try:
            member.address = ray.get(joining.call)
        except RayError as error:
            ray.kill(member.actor)
            self._on_failed(joining, member, error)
            return
        for number in member.numbers:
            self._data_errors.pop(number, None)
        if not self.members:
            self.newcomers.append(member)
            return
        joining.is_ready, joining.until = True, time.monotonic() + self.config.wait
        joining.call = member.actor.reach.remote([other.address for other in self.members])
        self._joining.append(joining)

    def _on_failed(self, joining: JoiningHost, member: HostHandle, error: RayError) -> None:
        """Note why a host did not get ready."""
        if not isinstance(error, RayTaskError):
            self.note(f"{member.name} died while it was getting ready{in_brackets(death(error, member.name))}")
            return
        self._retries.pause(joining.node, joining.numbers, self.config.wait)
        if not isinstance(error.cause, DataError):
            cause = death(error, member.name)  # raises an error of the host's own code
            self.note(f"{member.name} did not get ready{in_brackets(cause)}")
            return
        self._retries.never(joining.node, joining.numbers)
        for number in member.numbers:
            self._data_errors.pop(number, None)
            self._data_errors[number] = str(error.cause)
        self.note(f"{member.name} cannot read the data ({error.cause}): it is left out")

    def _on_tried(self, joining: JoiningHost, member: HostHandle) -> None:
        """Make a host a newcomer if it reaches all members, else leave it out."""
        try:
            missed = ray.get(joining.call)
        except RayError as error:
            ray.kill(member.actor)
            self.note(f"{member.name} died while it was getting ready{in_brackets(death(error, member.name))}")
            return
        for (address, port), reason in missed.items():
            self.leave_out(member, f"does not reach another host at {address}:{port} ({reason})")
            return
        self.newcomers.append(member)

    def leave_out(self, member: HostHandle, reason: str) -> None:
        """Leave out a host that others do not reach: for --wait at first, then longer each time."""
        if member in self.members:
            self.members.remove(member)
        self._ending.append(_Ending(member.actor, member.actor.close.remote(), time.monotonic() + _END_SECONDS))
        seconds = self._retries.unreachable(member.ping.node, self.config.wait)
        self.note(
            f"{member.name} {reason}: it is left out for {seconds:g} s; open that port "
            "between the hosts (--host-ports chooses the ports)"
        )

    def forgive(self) -> None:
        """Retry unreachable nodes at once, because no other host is left."""
        self._retries.forgive()

    def add_newcomers(self, state: Any, step: int) -> list[str]:
        """Make the newcomers members that continue from ``state``; return their names.

        A newcomer that fails is left out. If the state itself is lost, with the host that has it, they stay newcomers.
        """
        newcomers, self.newcomers = self.newcomers, []
        calls = [member.actor.restart.remote(state, step) for member in newcomers]
        ray.wait(calls, num_returns=len(calls), timeout=self.config.wait)
        names = []
        for member, call in zip(newcomers, calls, strict=True):
            reason = f"did not receive the state within {self.config.wait:g} s (--wait)"
            if ray.wait([call], timeout=0)[0]:
                try:
                    ray.get(call)
                    self.members.append(member)
                    names.append(member.name)
                    continue
                except RayError as error:
                    if is_loss(error):
                        self.newcomers.append(member)
                        continue
                    try:
                        reason = f"died while it was getting ready{in_brackets(death(error, member.name))}"
                    except (TrainingError, ClusterError) as own:
                        reason = f"did not receive the state ({own})"
            self.note(f"{member.name} {reason} in step {step}: it is left out")
            ray.kill(member.actor)
        return names

    def lose(self, member: HostHandle) -> None:
        """Remove a lost host."""
        if member in self.members:
            self.members.remove(member)
        ray.kill(member.actor)

    def nearest(self) -> HostHandle:
        """Return the member from which the driver fetches large arrays: its own host, if that is a member."""
        local = this_host()
        return next((member for member in self.members if member.ping.node == local), self.members[0])

    def stop(self) -> None:
        """End all hosts' actors, and with them their workers."""
        try:
            for joining in self._joining:
                joining.actor.end.remote()
            calls = [member.actor.close.remote() for member in (*self.members, *self.newcomers)]
            calls += [ending.call for ending in self._ending]
            calls += [joining.actor.close.remote() for joining in self._joining if joining.handle is not None]
            if calls:
                ray.wait(calls, num_returns=len(calls), timeout=_CLOSE_SECONDS)
        except RayError:  # they are killed in any case
            pass
        actors = [member.actor for member in (*self.members, *self.newcomers)]
        actors += [*(joining.actor for joining in self._joining), *(ending.actor for ending in self._ending)]

        def kill_all() -> None:
            for actor in actors:
                ray.kill(actor)

        within(_CLOSE_SECONDS, kill_all)


@contextmanager
def host_group(
    structure: Structure, config: Settings, rows: Rows, placement: Placement, note: Callable[[str], None]
) -> Iterator[HostGroup]:
    """Create the hosts of a run; stop them at the end."""
    hosts = HostGroup(structure, config, rows, placement, note)
    del rows  # this frame lives as long as the run, and the driver needs no copy of the rows
    try:
        yield hosts
    finally:
        hosts.stop()
