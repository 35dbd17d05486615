"""Steps through Ray's actor calls and object references: slower, but it reaches actors on other hosts."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Generator
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from distbp.actors.crew import START_SECONDS, Crew, failed, is_loss, raise_cause
from distbp.data.dataset import Array
from distbp.data.order import Order
from distbp.errors import PeerLostError
from distbp.parallel.diagnosis import is_diagnosed
from distbp.parallel.pool import shards_of
from distbp.parallel.records import StepRecord
from distbp.parallel.shards import Span, cut
from distbp.parallel.supervisor import MOST_DEATHS, poisoned


class CallPath:
    """Drives a crew step by step; weights and gradients lie in Ray's object store.

    A lost worker's shards are computed by the others, and somebody new is started in its place. A lost server begins
    again from the state that the driver asked for last, and the steps since are done once more.
    """

    def __init__(self, crew: Crew, order: Order, state: Array, step: int) -> None:
        assert crew.config.shards is not None
        self._crew, self._order, self._shards = crew, order, crew.config.shards
        self._kept = step, state
        self._weights: Any = None
        self._halted = False
        self._factors: dict[int, float] = {}
        """What lr is multiplied by in each epoch, also those that may have to be done again."""
        self._starting: dict[Any, int] = {}
        self._lost_in = -1, 0.0
        """The step in which a server was lost last, and since when that goes on."""
        self.step = step
        self.recoveries = 0
        for number in crew.workers.keys() - crew.pulses.keys():
            self._starting[crew.workers[number].pulse.remote()] = number
        self._load()

    def steps(self, stop: int, factor: float = 1.0) -> Generator[StepRecord, None, None]:
        """Do the steps up to before ``stop``; yield each one's record after its update was applied."""
        self._halted = False
        self._factors[self.step // self._order.steps_per_epoch] = factor
        seen = self.step
        while self.step < stop and not (self._halted and self.step >= seen):
            began = time.perf_counter()
            self._take_in()
            try:
                record = self._do_step()
            except _ServerLost:
                self._replace_server()
                continue
            record.check()
            self.step += 1
            if self.step > seen:
                seen = self.step
                yield replace(record, seconds=time.perf_counter() - began)

    def halt(self) -> None:
        """Let :meth:`steps` end after the step that is going on."""
        self._halted = True

    def restart(self, state: Array, step: int) -> None:
        """Go back to this state after ``step`` steps."""
        self._kept = step, state
        self._load()

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters)."""
        while True:
            step = self.step
            try:
                state = np.array(self._from_server(self._crew.server.state.remote(), self._crew.config.timeout))
            except _ServerLost:
                self._replace_server()
                deque(self.steps(step, self._factors.get(self.step // self._order.steps_per_epoch, 1.0)), maxlen=0)
            else:
                self._kept = step, state
                return state

    def _load(self) -> None:
        """Let the server go on from what is kept; if it does not come up, another one.

        Raises:
            PeerLostError: none came up.
        """
        step, state = self._kept
        deadline = time.monotonic() + self._crew.config.wait
        while True:
            try:
                load = self._crew.server.load.remote(state, step, self._order)
                self._from_server(load, min(self._crew.config.wait, START_SECONDS))
                pulse = self._crew.server.pulse.remote()
                self._crew.pulses[None] = self._from_server(pulse, self._crew.config.timeout)
                break
            except _ServerLost as lost:
                if time.monotonic() > deadline:
                    wait = self._crew.config.wait
                    raise PeerLostError(f"no parameter server came up within {wait:g} s in step {step}") from lost
                self._start_server()
        self._weights = self._crew.server.pull.remote()
        self.step = step

    def _do_step(self) -> StepRecord:
        """Have every shard of the step computed by somebody, then the update."""
        whole = shards_of(self._order, self.step, self._shards)
        waiting = cut(whole.stop, len(self._present())) or [whole]
        done: dict[Span, tuple[Any, Any]] = {}
        deaths: Counter[Span] = Counter()
        pushed: dict[Any, tuple[int, Any, Span, Any]] = {}
        deadline = time.monotonic() + self._crew.config.wait
        while waiting or pushed:
            idle = [number for number in self._present() if number not in {entry[0] for entry in pushed.values()}]
            for number, held in zip(idle, list(waiting), strict=False):
                waiting.remove(held)
                worker = self._crew.workers[number]
                report, sums = worker.push.options(num_returns=2).remote(self.step, held, self._weights)
                pushed[report] = number, worker, held, sums
            if not pushed:
                self._wait_for_anybody(deadline)
                continue
            ready, _ = ray.wait(list(pushed), timeout=self._crew.config.timeout / 2)
            for report in ready:
                number, worker, held, sums = pushed.pop(report)
                if self._answered(report, number, worker):
                    done[held] = report, sums
                else:
                    waiting.append(held)
                    deaths[held] += 1
                    if deaths[held] >= MOST_DEATHS and done:
                        raise PeerLostError(poisoned(held, self.step, deaths[held]))
            if not ready:
                for silent in self._crew.silent(self._crew.config.timeout / 2):
                    self._lose(silent, f"gave no answer for {self._crew.config.timeout:g} s (--timeout)")
        reports, sums = zip(*done.values(), strict=True)
        epoch = self._order.steps_per_epoch
        factor, diagnose = self._factors.get(self.step // epoch, 1.0), is_diagnosed(self.step, epoch)
        update = self._crew.server.update.options(num_returns=2)
        answer, self._weights = update.remote(self.step, factor, diagnose, *reports, *sums)
        return self._updated(answer)

    def _present(self) -> list[int]:
        return sorted(number for number in self._crew.pulses if number is not None)

    def _answered(self, report: Any, number: int, worker: Any) -> bool:
        """Return whether a worker has computed its shards; if it was lost, or what it had to read, say so."""
        try:
            ray.get(report)
        except RayActorError:
            if self._crew.workers[number] is worker and number in self._crew.pulses:
                self._lose(number, "died")
            return False
        except RayError as error:
            self._raise(error, number)  # the weights that it was to read were the server's
        return True

    def _raise(self, error: RayError, who: int | None) -> NoReturn:
        """Raise what has happened to an actor's call: it failed by itself, or what it needed was lost."""
        if isinstance(error, RayTaskError):
            raise_cause(error)
        if is_loss(error):
            raise _ServerLost from error
        raise failed(self._crew.name(who), error) from error

    def _updated(self, answer: Any) -> StepRecord:
        """Wait for what the server says about a step; sums that it was to read may be lost with their worker."""
        record: StepRecord = self._from_server(answer, self._crew.config.timeout)
        return record

    def _from_server(self, answer: Any, patience: float) -> Any:
        """Wait for an answer of the server's, and after ``patience`` seconds only as long as it shows life."""
        half = self._crew.config.timeout / 2
        patient_until = time.monotonic() + patience - half
        try:
            while not ray.wait([answer], timeout=half)[0]:
                if time.monotonic() > patient_until and None in self._crew.silent(half):
                    raise _ServerLost
            return ray.get(answer)
        except RayError as error:
            self._raise(error, None)

    def _lose(self, number: int | None, why: str) -> None:
        """Go on without a worker, and start somebody new in its place."""
        if number is None:
            raise _ServerLost
        self.recoveries += 1
        self._crew.note(f"{self._crew.name(number)} {why} in step {self.step}: others compute its shards")
        del self._crew.pulses[number]
        self._starting[self._crew.start_worker(number).pulse.remote()] = number

    def _take_in(self) -> None:
        """Let those work who have come since."""
        ready = ray.wait(list(self._starting), num_returns=len(self._starting), timeout=0)[0] if self._starting else []
        for ref in ready:
            number = self._starting.pop(ref)
            try:
                self._crew.pulses[number] = ray.get(ref)
            except RayActorError:
                self._starting[self._crew.start_worker(number).pulse.remote()] = number

    def _wait_for_anybody(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            wait = self._crew.config.wait
            raise PeerLostError(f"no worker is left and none came for {wait:g} s in step {self.step} (--wait)")
        if self._starting:
            ray.wait(list(self._starting), timeout=1)
        self._take_in()

    def _replace_server(self) -> None:
        """Start a new server from what is kept.

        Raises:
            PeerLostError: one after the other is lost in this step.
        """
        now, wait = time.monotonic(), self._crew.config.wait
        if self._lost_in[0] != self.step:
            self._lost_in = self.step, now
        elif now - self._lost_in[1] > wait:
            raise PeerLostError(f"one parameter server after the other was lost in step {self.step}, for {wait:g} s")
        self.recoveries += 1
        step = self._kept[0]
        self._crew.note(
            f"{self._crew.name(None)} was lost in step {self.step}: another one does the steps from {step} on again"
        )
        self._start_server()
        self._load()

    def _start_server(self) -> None:
        """Start a server in the place of the one that is lost, on a host that answers."""
        self._crew.silent(self._crew.config.timeout / 2)
        self._crew.start_server()


class _ServerLost(Exception):
    """The server, or what it held, is gone."""
