"""The actors that stand for the hosts of a run: started where its workers have CPUs, and always stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from distbp.actors.connection.calls import death, in_brackets, is_loss, within
from distbp.actors.connection.placement import Placement, this_host
from distbp.actors.host_actor import RemoteHost
from distbp.actors.host_handle import HostHandle, JoiningHost
from distbp.actors.worker_group import longest_start, other_arithmetic, put_rows, send_by_value
from distbp.config import Settings
from distbp.data.dataset import Rows
from distbp.errors import ClusterError, DataError, PeerLostError, TrainingError
from distbp.nn.structure import Structure

_AGAIN_SECONDS = 2.0
"""Between two tries to start somebody in the same places."""
_CLOSE_SECONDS = 3.0
_END_SECONDS = 15.0


class HostGroup:
    """Starts the hosts' actors, and again where they were lost, or where CPUs turn up."""

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
        """Those that take part, in the order of their shards."""
        self.newcomers: list[HostHandle] = []
        """Those that are ready and do not take part yet."""
        self._blind: set[int] = set()
        """The workers that have their places on hosts that do not see the data; those are left out."""
        self._unseen = ""
        self._coming: list[JoiningHost] = []
        self._not_before: dict[tuple[str, tuple[int, ...]], float] = {}
        self._apart: dict[str, tuple[int, float]] = {}
        """Nodes that others do not reach: how often that was seen, and until when they are not asked again."""
        self._ending: list[tuple[Any, Any, float]] = []
        """Actors that are to take their shared memory away, their calls, and when they are killed."""

    def start(self) -> None:
        """Start an actor wherever workers have CPUs and nobody stands for them."""
        now = time.monotonic()
        taken = {number for coming in self._coming for number in coming.numbers}
        taken |= {number for member in self.newcomers for number in member.numbers}
        for node, numbers in self._placement.hosts().items():
            here = {number for member in self.members if member.pulse.node == node for number in member.numbers}
            free = tuple(number for number in numbers if number not in here | taken)
            not_before = max(self._not_before.get((node, free), 0.0), self._apart.get(node, (0, 0.0))[1])
            if free and now >= not_before:
                self._not_before[node, free] = now + _AGAIN_SECONDS
                shell = RemoteHost.options(num_cpus=0, scheduling_strategy=self._placement.strategy(free[0]))
                actor = shell.remote(self.structure, self.config, self._rows)
                until = now + longest_start(self.config)
                self._coming.append(JoiningHost(actor, node, free, actor.pulse.remote(), until))

    @property
    def ready(self) -> int:
        """Workers that have their places on hosts that are ready."""
        return sum(len(member.numbers) for member in self.newcomers)

    @property
    def blind(self) -> int:
        """Workers that have their places on hosts that do not see the data."""
        return len(self._blind)

    def check_sight(self) -> None:
        """Raise DataError if no host sees the data."""
        if not self._blind:
            return
        placed = {number for numbers in self._placement.hosts().values() for number in numbers}
        if placed and placed <= self._blind:
            raise DataError(f"no host sees the data: {self._unseen}")

    @property
    def is_anybody_getting_ready(self) -> bool:
        """Whether somebody has come who is not ready yet, and may take --wait for it."""
        return any(coming.member is not None for coming in self._coming)

    def look(self) -> None:
        """See who has come or got ready; who has died or takes too long is given up.

        A newcomer gets its rows and its memory here, while the others go on.

        Raises:
            TrainingError: one cannot be started at all, or has failed.
            ClusterError: one has too little shared memory.
        """
        for ending in list(self._ending):
            actor, call, until = ending
            if ray.wait([call], timeout=0)[0] or time.monotonic() > until:
                self._ending.remove(ending)
                ray.kill(actor)
        for coming in list(self._coming):
            if ray.wait([coming.call], timeout=0)[0]:
                self._coming.remove(coming)
                if coming.member is None:
                    self._answered(coming)
                elif coming.is_ready:
                    self._tried(coming, coming.member)
                else:
                    self._got_ready(coming, coming.member)
            elif time.monotonic() > coming.until:
                self._coming.remove(coming)
                ray.kill(coming.actor)
                if coming.member is not None:
                    self._not_before[coming.node, coming.numbers] = time.monotonic() + self.config.wait
                    self.note(f"{coming.member.name} was not ready within {self.config.wait:g} s (--wait)")

    def _answered(self, coming: JoiningHost) -> None:
        """Let a host get ready whose process has started."""
        try:
            pulse = ray.get(coming.call)
        except RayError as error:
            ray.kill(coming.actor)
            try:
                cause = death(error, "a host")
            except PeerLostError:  # it would fail again and again
                self._not_before[coming.node, coming.numbers] = math.inf
                raise
            self.note(f"a host died as it started{in_brackets(cause)}: another one is started")
            return
        for text in other_arithmetic([pulse]):
            self.note(text)
        coming.member = HostHandle(coming.actor, pulse, coming.numbers)
        coming.call = coming.actor.begin.remote([self._placement.strategy(number) for number in coming.numbers])
        coming.until = time.monotonic() + self.config.wait
        self._coming.append(coming)

    def _got_ready(self, coming: JoiningHost, member: HostHandle) -> None:
        """Take in a host that is ready, or give it up."""
        try:
            member.address = ray.get(coming.call)
            self._blind.difference_update(member.numbers)
            if not self.members:
                self.newcomers.append(member)
                return
            # The others go on while it is found out whether it reaches them.
            coming.is_ready, coming.until = True, time.monotonic() + self.config.wait
            coming.call = member.actor.reach.remote([other.address for other in self.members])
            self._coming.append(coming)
        except RayError as error:
            ray.kill(member.actor)
            if not isinstance(error, RayTaskError):
                self.note(f"{member.name} died as it began{in_brackets(death(error, member.name))}")
                return
            self._not_before[coming.node, coming.numbers] = time.monotonic() + self.config.wait
            if not isinstance(error.cause, DataError):
                cause = death(error, member.name)  # raises what its own code has raised
                self.note(f"{member.name} did not get ready{in_brackets(cause)}")
                return
            self._not_before[coming.node, coming.numbers] = math.inf  # it would fail again and again
            self._blind.update(member.numbers)
            self._unseen = str(error.cause)
            self.note(f"{member.name} does not see the data ({error.cause}): it is left out")

    def _tried(self, coming: JoiningHost, member: HostHandle) -> None:
        """Let a host take part that reaches those who do."""
        try:
            missed = ray.get(coming.call)
        except RayError as error:
            ray.kill(member.actor)
            self.note(f"{member.name} died as it began{in_brackets(death(error, member.name))}")
            return
        for (address, port), why in missed.items():
            self.leave_out(member, f"does not reach the others at {address}:{port} ({why})")
            return
        self.newcomers.append(member)

    def leave_out(self, member: HostHandle, why: str) -> None:
        """Go on without a host that others do not reach, and leave it alone for --wait, longer each time."""
        if member in self.members:
            self.members.remove(member)
        self._ending.append((member.actor, member.actor.close.remote(), time.monotonic() + _END_SECONDS))
        times, _ = self._apart.get(member.pulse.node, (0, 0.0))
        seconds = self.config.wait * 2**times
        self._apart[member.pulse.node] = times + 1, time.monotonic() + seconds
        self.note(
            f"{member.name} {why}: it is left out for {seconds:g} s; let hosts reach each other there "
            "(--host-ports chooses the ports)"
        )

    def forgive(self) -> None:
        """Ask all again, since nobody is left whom they could miss."""
        self._apart = {node: (times, 0.0) for node, (times, _) in self._apart.items()}

    def take_in(self, state: Any, step: int) -> list[str]:
        """Let the newcomers take part, going on from ``state``; return their names.

        Who fails is left out. Where the state is lost, with the host that has it, they stay newcomers.
        """
        newcomers, self.newcomers = self.newcomers, []
        calls = [member.actor.restart.remote(state, step) for member in newcomers]
        ray.wait(calls, num_returns=len(calls), timeout=self.config.wait)
        names = []
        for member, call in zip(newcomers, calls, strict=True):
            why = f"did not take the state within {self.config.wait:g} s (--wait)"
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
                        why = f"died as it began{in_brackets(death(error, member.name))}"
                    except (TrainingError, ClusterError) as said:
                        why = f"did not take the state ({said})"
            self.note(f"{member.name} {why} in step {step}: it is left out")
            ray.kill(member.actor)
        return names

    def lose(self, member: HostHandle) -> None:
        """Go on without a host."""
        if member in self.members:
            self.members.remove(member)
        ray.kill(member.actor)

    def nearest(self) -> HostHandle:
        """Return a host from which the driver gets what is large: its own, if it takes part."""
        here = this_host()
        return next((member for member in self.members if member.pulse.node == here), self.members[0])

    def stop(self) -> None:
        """End all hosts' actors, and with them their workers."""
        try:
            for coming in self._coming:
                coming.actor.end.remote()
            calls = [member.actor.close.remote() for member in (*self.members, *self.newcomers)]
            calls += [call for _, call, _ in self._ending]
            calls += [coming.actor.close.remote() for coming in self._coming if coming.member is not None]
            if calls:
                ray.wait(calls, num_returns=len(calls), timeout=_CLOSE_SECONDS)
        except RayError:  # they are killed in any case
            pass
        actors = [member.actor for member in (*self.members, *self.newcomers)]
        actors += [*(coming.actor for coming in self._coming), *(actor for actor, _, _ in self._ending)]

        def kill_all() -> None:
            for actor in actors:
                ray.kill(actor)

        within(_CLOSE_SECONDS, kill_all)


@contextmanager
def host_group(
    structure: Structure, config: Settings, rows: Rows, placement: Placement, note: Callable[[str], None]
) -> Iterator[HostGroup]:
    """Make the hosts of a run; stop them at the end."""
    hosts = HostGroup(structure, config, rows, placement, note)
    del rows  # this frame lives as long as the run, and the driver needs no copy of its own
    try:
        yield hosts
    finally:
        hosts.stop()
