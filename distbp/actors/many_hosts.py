"""Steps of actors on several hosts, which exchange sums among themselves; the driver looks on and says who takes part.

Every host has the whole state, after two steps. So whoever is lost, the others go on from the last step that all of
them have done.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from distbp.actors.agreement import Agreement
from distbp.actors.connection.calls import death, in_brackets, put
from distbp.actors.connection.liveness import HeadWatch
from distbp.actors.host_group import HostGroup
from distbp.actors.host_handle import HostHandle
from distbp.actors.rendezvous import Rendezvous
from distbp.actors.standstill import Standstill
from distbp.actors.utilisation import HostsTime
from distbp.data.dataset import Array
from distbp.errors import ClusterError, HeadLostError, PeerLostError, TrainingError
from distbp.parallel.host.messages import check_diverged
from distbp.parallel.step.records import StepRecord, TimeSpent, WorkerRecord

_LOOK_SECONDS, _CARE_SECONDS = 0.25, 1.0
"""How often the driver looks for news; and for hosts to be started, and whether Ray's head is there."""


class ManyHostsExecutor:
    """Tells the hosts how far to go and reads their records; the steps need no driver."""

    def __init__(self, hosts: HostGroup, state: Array, step: int) -> None:
        self._hosts, self._config = hosts, hosts.config
        self._kept = step, state
        """The last state that the driver has seen itself."""
        self.step = step
        """The steps done, and the step from which the hosts go on."""
        self._seen = step
        """The first step whose record was not yielded yet."""
        self._goal, self._halted = (step, 1.0), False
        self._meeting, self._agreement = Rendezvous(hosts), Agreement(hosts.note)
        self._lost, self._workers_lost = 0, 0
        self._head, self._time = HeadWatch(self._config.timeout), HostsTime()
        self._next_care, self._has_begun = 0.0, False
        self._standstill = Standstill()

    def start(self) -> None:
        """Start the hosts, and wait until as many workers as are needed have their places there.

        Raises:
            ClusterError: they do not come within --wait.
            PeerLostError: they cannot be started.
        """
        self._fill(self._config.least_workers)

    def _fill(self, least: int) -> None:
        """Have new hosts with at least so many places for workers, and let them begin with what is kept."""
        (step, state), hosts, wait = self._kept, self._hosts, self._config.wait
        deadline = time.monotonic() + wait
        while hosts.ready + hosts.blind < least or not hosts.newcomers:
            if self._head.look(step):
                hosts.start()
            hosts.look()
            late = time.monotonic() - deadline
            if (not self._has_begun or late > 0) and self._head.look(step):
                hosts.check_sight()
            # Who has come before the deadline may take as long again to get ready.
            if late > (wait if hosts.is_anybody_getting_ready else 0):
                came = f"hosts for {hosts.ready} of {least} workers came"
                raise ClusterError(f"{came} within {wait:g} s (--wait) in step {step}")
            time.sleep(0.02)
        self._has_begun = True
        hosts.take_in(put(state), step)
        self.step = step
        self._meet()

    def steps(self, stop: int, factor: float = 1.0) -> Generator[StepRecord, None, None]:
        """Do the steps up to before ``stop``; yield each one's record some time after its update was applied."""
        self._goal, self._halted = (stop, factor), False
        ended: dict[str, Any] = {}
        try:
            while self.step < stop and not self._halted and not ended:
                self._run()
                while not self._all_done():
                    yield from self._look()
                is_broken = self._find_step()
                yield from self._rest()
                ended = self._go_on(is_broken)
        except (TrainingError, ClusterError) as error:
            self._agreement.heard(error)
            self._stand_still()
            raise
        except GeneratorExit:
            self.halt()
            while not self._all_done():
                self._look()
            is_broken = self._find_step()
            self._seen = self.step
            self._go_on(is_broken)
            raise
        check_diverged(ended)

    def _stand_still(self) -> None:
        """Let all hosts that answer come to an end, and see where they stand; what they say counts no more."""
        self._leave()
        deadline = time.monotonic() + self._config.timeout
        for member in list(self._hosts.members):
            while member.done is None:
                if member.news is None:
                    member.ask(self._seen, False)
                if time.monotonic() > deadline or not member.ends_within(_LOOK_SECONDS):
                    self._hosts.lose(member)
                    break
        if self._hosts.members:
            self.step = min(member.done["done"] for member in self._hosts.members if member.done is not None)
        self._agreement.check(self._hosts.members, self.step)

    def _run(self) -> None:
        """Let all hosts go on."""
        for member in self._hosts.members:
            member.done, member.heard = None, time.monotonic()
            member.actor.run.remote(self.step, *self._goal)

    def _all_done(self) -> bool:
        return all(member.done is not None for member in self._hosts.members)

    def _look(self) -> list[StepRecord]:
        """Wait a moment and see to what has happened; return the records that are new."""
        members = self._hosts.members
        source = self._hosts.nearest() if members else None
        for member in members:
            if member.news is None and member.done is None:
                member.ask(self._seen, member is source)
        calls = {member.news: member for member in members if member.news is not None}
        records: list[StepRecord] = []
        for call in ray.wait(list(calls), timeout=_LOOK_SECONDS)[0] if calls else ():
            records += self._hear(calls[call])
        now = time.monotonic()
        for member in list(members):
            if member.done is None and now - member.heard > self._config.timeout:
                self._lose(member, f"gave no answer for {self._config.timeout:g} s (--timeout)")
        if now > self._next_care:
            self._next_care = now + _CARE_SECONDS
            self._care()
        return records

    def _hear(self, member: HostHandle) -> list[StepRecord]:
        """Take in what a host says."""
        try:
            news = member.answer()
        except RayError as error:  # raised again if it is one of the host's own
            self._lose(member, "died", in_brackets(death(error, member.name)))
            return []
        for note in news.notes:
            self._hosts.note(note)
        self._workers_lost += news.lost - member.lost
        member.lost = news.lost
        self._time.hear(member, news.spent)
        if news.done is not None:
            member.done = news.done
            if "hosts" in news.done or "differ" in news.done:  # this view is at its end
                self._leave()
            self._agreement.hear(news.done)
        records = [record for record in news.records if record.step >= self._seen]
        if records:
            self._seen = records[-1].step + 1
        return records

    def _lose(self, member: HostHandle, why: str, cause: str = "") -> None:
        """Go on without a host; the others end the step that it was to take part in."""
        self._hosts.lose(member)
        self._lost += 1
        self._hosts.note(f"{member.name} {why} in step {self._seen}{cause}: others compute its shards")
        self._leave()

    def _leave(self) -> None:
        """Let every host end the exchange, and the step that it waits in."""
        for member in self._hosts.members:
            if member.done is None:
                member.actor.leave.remote()

    def _find_step(self) -> bool:
        """See where the hosts stand that have all come to an end; return whether their view is at its end too."""
        done = [member.done for member in self._hosts.members if member.done is not None]
        steps = {news["done"] for news in done}
        if steps:
            self.step = min(steps)
        self._agreement.check(self._hosts.members, self.step)
        return len(steps) != 1 or any("hosts" in news for news in done)

    def _rest(self) -> Iterator[StepRecord]:
        """Yield the records that are still missing; whoever takes part has those of all steps that were not seen."""
        while self._seen < self.step and self._hosts.members:
            member = self._hosts.nearest()
            member.ask(self._seen, True)
            if ray.wait([member.news], timeout=self._config.timeout)[0]:
                yield from self._hear(member)
            else:
                self._lose(member, f"gave no answer for {self._config.timeout:g} s (--timeout)")

    def _go_on(self, is_broken: bool) -> dict[str, Any]:
        """Make a new view if this one is at its end or somebody has come; return what ended the run early, if any."""
        members = self._hosts.members
        if not members:
            self._begin_again()
        elif not is_broken and members[0].done is not None and "what" in members[0].done:
            return members[0].done
        elif is_broken or self._hosts.newcomers:
            while self._hosts.newcomers and members:
                source = self._hosts.nearest()
                for name in self._hosts.take_in(source.actor.state.remote(self.step), self.step):
                    self._hosts.note(f"{name} joined in step {self.step}")
                if self._hosts.newcomers:
                    self._lose(source, "died")
            self._meet()
        return {}

    def _begin_again(self) -> None:
        """Go on with other hosts, from what the driver has kept."""
        self._head.look(self._seen)
        if self._standstill.seconds(self._seen) > self._config.wait:
            raise PeerLostError(f"no host has done step {self._seen} within {self._config.wait:g} s (--wait)")
        self._hosts.forgive()
        self._hosts.note(f"no host is left: others do the steps from {self._kept[0]} on again")
        self._fill(self._config.least_workers)

    def _meet(self) -> None:
        """Connect all hosts with each other in a new view; whoever cannot be reached is left out."""
        self._lost += self._meeting.meet(self.step)
        self._agreement.begin(self._hosts.members)
        if not self._hosts.members:
            self._begin_again()

    def _care(self) -> None:
        """Start hosts where there are CPUs and none is; let all pause when one has come that may take part."""
        if self._head.look(self._seen):
            self._hosts.start()
        try:
            self._hosts.look()
        except (TrainingError, ClusterError) as error:  # the others are not concerned
            self._hosts.note(str(error))
        if self._hosts.newcomers:
            self._pause()

    def _pause(self) -> None:
        for member in self._hosts.members[:1]:  # the view's first host stops all
            member.actor.halt.remote()

    @property
    def recoveries(self) -> int:
        """Hosts and workers that were lost so far."""
        return self._lost + self._workers_lost

    def spent(self) -> TimeSpent:
        """Return what the workers, and the rounds of the host that took longest, have done with their time so far."""
        return self._time.spent()

    def workers(self) -> list[WorkerRecord]:
        """Return the workers that are there, as far as their hosts' last words tell."""
        assert self._config.shards is not None
        return self._time.workers(list(self._hosts.members), self._config.shards)

    def halt(self) -> None:
        """Let :meth:`steps` end after the step that is going on."""
        self._halted = True
        self._pause()

    def restart(self, state: Array, step: int) -> None:
        """Go back to this state after ``step`` steps."""
        self._kept, self._seen = (step, state), step
        for member in list(self._hosts.members):  # they may have been lost meanwhile; others get ready within --wait
            self._hosts.lose(member)
        self._fill(self._config.least_workers)

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters); CorruptError if hosts differ."""
        self._agreement.confirm()
        step = self.step
        while step != self._kept[0]:
            if not self._hosts.members:
                if self._halted and not self._head.look(step):  # all of them were stopped together
                    raise HeadLostError(f"all hosts and Ray's head were lost in step {step}")
                self._begin_again()
                deque(self.steps(step, self._goal[1]), maxlen=0)
                continue
            member = self._hosts.nearest()
            call = member.actor.state.remote(step)
            if ray.wait([call], timeout=self._config.wait)[0]:
                with suppress(RayError):
                    self._kept = step, np.array(ray.get(call))
                    break
            self._lose(member, "is gone")
        return self._kept[1].copy()
