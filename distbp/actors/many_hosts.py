"""Training by actors on several hosts, which exchange sums among themselves; the driver chooses the members of a view.

Every host has the whole state after each of the last two steps. So when a host is lost, the others continue from the
last step that all of them have done.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import ray
from ray.exceptions import RayError

from distbp.actors.connection.calls import death, in_brackets, put
from distbp.actors.connection.liveness import HeadWatch
from distbp.actors.host_group import HostGroup
from distbp.actors.host_handle import HostHandle
from distbp.actors.integrity import Integrity
from distbp.actors.rendezvous import Rendezvous
from distbp.actors.stall import StallTimer
from distbp.actors.utilisation import HostsTime
from distbp.data.dataset import Array
from distbp.errors import ClusterError, HeadLostError, PeerLostError, TrainingError
from distbp.parallel.host.messages import StepDiverged, ViewEnded, WeightsDiffer
from distbp.parallel.step.records import StepRecord, TimeSpent, WorkerRecord

_POLL_SECONDS = 0.25
"""Longest wait for a host's status."""
_MAINTENANCE_SECONDS = 1.0
"""Time between two checks for free CPUs, joining hosts, and Ray's head."""


@dataclass
class _Goal:
    """What the caller of ``steps`` wants."""

    stop: int
    """The step to stop before."""
    factor: float = 1.0
    """The factor of the step size."""
    is_halted: bool = False
    """Whether to stop after the running step."""


class ManyHostsExecutor:
    """Requests many steps at once from the hosts and reads their records; the steps need no driver."""

    def __init__(self, hosts: HostGroup, state: Array, step: int) -> None:
        self._hosts = hosts
        self._kept = step, state
        """The driver's own copy of a state, with its step."""
        self.step = step
        """The number of steps done, from which the hosts continue."""
        self._unseen = step
        """The first step whose record was not yielded yet."""
        self._goal = _Goal(step)
        self._rendezvous, self._integrity = Rendezvous(hosts), Integrity(hosts.note)
        self.recoveries = 0
        """Hosts and workers lost so far."""
        self._head, self._time = HeadWatch(hosts.config.timeout), HostsTime()
        self._next_maintenance = 0.0
        self._stall = StallTimer()

    def start(self) -> None:
        """Start the hosts, and wait until they have slots for enough workers.

        Raises:
            ClusterError: they do not join within --wait.
            PeerLostError: they cannot be started.
        """
        self._fill(is_first=True)

    def _fill(self, is_first: bool = False) -> None:
        """Start new hosts with slots for enough workers; let them continue from the kept state."""
        (step, state), hosts, config = self._kept, self._hosts, self._hosts.config
        least, wait = config.workers.least, config.wait
        deadline = time.monotonic() + wait
        while hosts.ready + hosts.without_data < least or not hosts.newcomers:
            if self._head.look(step):
                hosts.start()
            hosts.poll()
            overdue = time.monotonic() - deadline
            if (is_first or overdue > 0) and self._head.look(step):
                hosts.check_data()
            # A host that has answered before the deadline may take as long again to get ready.
            if overdue > (wait if hosts.is_any_getting_ready else 0):
                joined = f"hosts for {hosts.ready} of {least} workers joined"
                raise ClusterError(f"{joined} within {wait:g} s (--wait) in step {step}")
            time.sleep(0.02)
        hosts.add_newcomers(put(state), step)
        self.step = step
        self._connect_hosts()

    def steps(self, stop: int, factor: float = 1.0) -> Generator[StepRecord, None, None]:
        """Do the steps up to before ``stop``; yield each step's record some time after its update."""
        self._goal = _Goal(stop, factor)
        diverged: StepDiverged | None = None
        try:
            while self.step < stop and not self._goal.is_halted and diverged is None:
                self._run()
                while not self._all_ended():
                    yield from self._poll()
                is_broken = self._find_step()
                yield from self._missing_records()
                diverged = self._prepare_next(is_broken)
        except (TrainingError, ClusterError) as error:
            self._integrity.note_error(error)
            self._stop_all()
            raise
        except GeneratorExit:
            self.halt()
            while not self._all_ended():
                self._poll()
            is_broken = self._find_step()
            self._unseen = self.step
            self._prepare_next(is_broken)
            raise
        if diverged is not None:
            diverged.check()

    def _stop_all(self) -> None:
        """Stop all hosts, and set ``step`` to the last step that all of them have done."""
        self._leave()
        deadline = time.monotonic() + self._hosts.config.timeout
        for member in list(self._hosts.members):
            while member.ended is None:
                if member.status_call is None:
                    member.request_status(self._unseen, False)
                if time.monotonic() > deadline or not member.answers_within(_POLL_SECONDS):
                    self._hosts.lose(member)
                    break
        if self._hosts.members:
            self.step = min(member.ended.steps for member in self._hosts.members if member.ended is not None)
        self._integrity.check(self._hosts.members, self.step)

    def _run(self) -> None:
        """Request the steps from all hosts."""
        for member in self._hosts.members:
            member.ended, member.last_answer = None, time.monotonic()
            member.actor.run.remote(self.step, self._goal.stop, self._goal.factor)

    def _all_ended(self) -> bool:
        return all(member.ended is not None for member in self._hosts.members)

    def _poll(self) -> list[StepRecord]:
        """Wait a moment and handle what has happened; return the new records."""
        members, timeout = self._hosts.members, self._hosts.config.timeout
        source = self._hosts.nearest() if members else None
        for member in members:
            if member.status_call is None and member.ended is None:
                member.request_status(self._unseen, member is source)
        calls = {member.status_call: member for member in members if member.status_call is not None}
        records: list[StepRecord] = []
        for call in ray.wait(list(calls), timeout=_POLL_SECONDS)[0] if calls else ():
            records += self._handle_status(calls[call])
        now = time.monotonic()
        for member in list(members):
            if member.ended is None and now - member.last_answer > timeout:
                self._lose(member, f"gave no answer for {timeout:g} s (--timeout)")
        if now > self._next_maintenance:
            self._next_maintenance = now + _MAINTENANCE_SECONDS
            self._maintain()
        return records

    def _handle_status(self, member: HostHandle) -> list[StepRecord]:
        """Handle the status that a host has sent; return the new records."""
        try:
            status = member.status()
        except RayError as error:  # if the host's own code failed, death() raises that error again
            self._lose(member, "died", in_brackets(death(error, member.name)))
            return []
        for note in status.notes:
            self._hosts.note(note)
        self.recoveries += status.lost - member.lost
        member.lost = status.lost
        self._time.update(member, status.spent)
        if status.ended is not None:
            member.ended = status.ended
            if isinstance(status.ended, ViewEnded | WeightsDiffer):
                self._leave()
            self._integrity.note_damage(status.ended)
        records = [record for record in status.records if record.step >= self._unseen]
        if records:
            self._unseen = records[-1].step + 1
        return records

    def _lose(self, member: HostHandle, reason: str, cause: str = "") -> None:
        """Remove a lost host, and let the others leave the view."""
        self._hosts.lose(member)
        self.recoveries += 1
        self._hosts.note(f"{member.name} {reason} in step {self._unseen}{cause}: others compute its shards")
        self._leave()

    def _leave(self) -> None:
        """Let all hosts leave the view, which ends a step that waits for a lost host."""
        for member in self._hosts.members:
            if member.ended is None:
                member.actor.leave.remote()

    def _find_step(self) -> bool:
        """Set ``step`` to the last step that all hosts have done; return whether the view is broken."""
        ended = [member.ended for member in self._hosts.members if member.ended is not None]
        steps = {each.steps for each in ended}
        if steps:
            self.step = min(steps)
        self._integrity.check(self._hosts.members, self.step)
        return len(steps) != 1 or any(isinstance(each, ViewEnded) for each in ended)

    def _missing_records(self) -> Iterator[StepRecord]:
        """Yield the records that were not yielded yet; every member has them."""
        timeout = self._hosts.config.timeout
        while self._unseen < self.step and self._hosts.members:
            member = self._hosts.nearest()
            member.request_status(self._unseen, True)
            if ray.wait([member.status_call], timeout=timeout)[0]:
                yield from self._handle_status(member)
            else:
                self._lose(member, f"gave no answer for {timeout:g} s (--timeout)")

    def _prepare_next(self, is_broken: bool) -> StepDiverged | None:
        """Make a new view if this one is broken or has newcomers; return the divergence that ends the run, if any."""
        members = self._hosts.members
        if not members:
            self._start_over()
        elif not is_broken and isinstance(members[0].ended, StepDiverged):
            return members[0].ended
        elif is_broken or self._hosts.newcomers:
            while self._hosts.newcomers and members:
                source = self._hosts.nearest()
                for name in self._hosts.add_newcomers(source.actor.state.remote(self.step), self.step):
                    self._hosts.note(f"{name} joined in step {self.step}")
                if self._hosts.newcomers:
                    self._lose(source, "died")
            self._connect_hosts()
        return None

    def _start_over(self) -> None:
        """Continue with new hosts, from the kept state."""
        wait = self._hosts.config.wait
        self._head.look(self._unseen)
        if self._stall.seconds(self._unseen) > wait:
            raise PeerLostError(f"no host has completed step {self._unseen} within {wait:g} s (--wait)")
        self._hosts.forgive()
        self._hosts.note(f"no host is left: new hosts repeat the steps from {self._kept[0]} on")
        self._fill()

    def _connect_hosts(self) -> None:
        """Connect all hosts with each other in a new view, leaving out those that are not reached."""
        self.recoveries += self._rendezvous.connect(self.step)
        self._integrity.begin(self._hosts.members)
        if not self._hosts.members:
            self._start_over()

    def _maintain(self) -> None:
        """Start hosts on free CPUs; pause all hosts once a newcomer is ready."""
        if self._head.look(self._unseen):
            self._hosts.start()
        try:
            self._hosts.poll()
        except (TrainingError, ClusterError) as error:  # it concerns a joining host alone
            self._hosts.note(str(error))
        if self._hosts.newcomers:
            self._pause()

    def _pause(self) -> None:
        for member in self._hosts.members[:1]:  # halting the view's first host halts all hosts
            member.actor.halt.remote()

    def spent(self) -> TimeSpent:
        """Return the time that each worker, and the server of the slowest host, has spent so far."""
        return self._time.spent()

    def workers(self) -> list[WorkerRecord]:
        """Return the workers of all members, as of each host's last status."""
        shards = self._hosts.config.shards
        return self._time.workers(list(self._hosts.members), shards)

    def halt(self) -> None:
        """Let :meth:`steps` end after the running step."""
        self._goal.is_halted = True
        self._pause()

    def restart(self, state: Array, step: int) -> None:
        """Go back to ``state``, which is the state after ``step`` steps."""
        self._kept, self._unseen = (step, state), step
        for member in list(self._hosts.members):  # they may have been lost since; other hosts get ready within --wait
            self._hosts.lose(member)
        self._fill()

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters).

        Raises:
            CorruptError: hosts have different weights.
            HeadLostError: all hosts and Ray's head are lost.
        """
        self._integrity.confirm()
        step = self.step
        while step != self._kept[0]:
            if not self._hosts.members:
                if self._goal.is_halted and not self._head.look(step):  # the hosts and the head were stopped together
                    raise HeadLostError(f"all hosts and Ray's head were lost in step {step}")
                self._start_over()
                deque(self.steps(step, self._goal.factor), maxlen=0)
                continue
            member = self._hosts.nearest()
            call = member.actor.state.remote(step)
            if ray.wait([call], timeout=self._hosts.config.wait)[0]:
                with suppress(RayError):
                    self._kept = step, np.array(ray.get(call))
                    break
            self._lose(member, "is gone")
        return self._kept[1].copy()
