"""How the hosts of a run come together: in a new view whenever somebody leaves or joins."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from distbp.actors.connection.calls import death
from distbp.actors.host_group import HostGroup
from distbp.actors.host_handle import HostHandle
from distbp.errors import ClusterError, PeerLostError, TrainingError
from distbp.parallel.mesh.cost import MEASURING_SECONDS, choose_factored_layers
from distbp.parallel.mesh.reachability import hosts_to_leave_out
from distbp.parallel.mesh.view import View, servers_for
from distbp.parallel.step.factor_store import factorable_layers


class Rendezvous:
    """Makes the views, all with the run's secret, which nobody else knows."""

    def __init__(self, hosts: HostGroup) -> None:
        self._hosts, self._config = hosts, hosts.config
        self._met: list[HostHandle] = []
        """Those that have met before, and so have done steps since."""
        self._views = 0
        """Also those that did not come together."""
        self._secret = secrets.token_bytes(32)
        self._can_factor = self._config.wire == "exact"
        self._shards = self._config.shards or 1
        self._rows_per_shard = -(-hosts.batch_size // self._shards)

    def meet(self, step: int) -> int:
        """Connect all members with each other before ``step``; return how many were not reached and left out.

        Raises:
            PeerLostError: some always miss others.
        """
        deadline, lost = time.monotonic() + self._config.wait, 0
        hosts = self._hosts
        while hosts.members:
            view, members = self._new_view(), list(hosts.members)
            missed = self._missed(view, step)
            settled = sum(member in self._met for member in members)  # newcomers are behind the others
            out = hosts_to_leave_out(missed, settled)
            if not out:
                if not view.measures or self._factors_agreed():
                    break
                continue
            for number in out:
                lost += 1
                if missed[number] is None:
                    hosts.note(f"{members[number].name} gave no answer when hosts met in step {step}: it is left out")
                    hosts.lose(members[number])
                else:
                    hosts.leave_out(members[number], f"{self._why(members, missed, number)} in step {step}")
            if time.monotonic() > deadline:
                raise PeerLostError(f"the hosts did not reach each other within {self._config.wait:g} s (--wait)")
        self._met = list(hosts.members)
        return lost

    def _missed(self, view: View, step: int) -> list[dict[int, str] | None]:
        """Let all members connect; return for each whom it misses, None if it did not answer."""
        members = self._hosts.members
        calls = [member.actor.meet.remote(view, number, step, self._secret) for number, member in enumerate(members)]
        ray.wait(calls, num_returns=len(calls), timeout=2 * self._config.timeout)
        return [self._answered(call, member) for call, member in zip(calls, members, strict=True)]

    def _answered(self, call: Any, member: HostHandle) -> dict[int, str] | None:
        """Return what a host said of those it was to meet; None if it said nothing, or has died."""
        answer: dict[int, str] | None = None
        try:
            if ray.wait([call], timeout=0)[0]:
                answer = ray.get(call)
        except RayError as error:
            try:
                death(error, member.name)
            except (TrainingError, ClusterError) as own:  # the others are not concerned
                self._hosts.note(str(own))
        return answer

    def _why(self, members: Sequence[HostHandle], missed: Sequence[Mapping[int, str] | None], number: int) -> str:
        """Say whom a host does not reach, or is not reached by, and where: of two the later one calls the other."""
        own = missed[number] or {}
        other = min([*own, *(there for there, others in enumerate(missed) if number in (others or {}))])
        first, caller = sorted((number, other))
        address, port = members[first].address
        why = (missed[caller] or {}).get(first) or (missed[first] or {}).get(caller)
        verb = "does not reach" if number == caller else "is not reached by"
        return f"{verb} {members[other].name} at {address}:{port} ({why})"

    def _factors_agreed(self) -> bool:
        """Let those layers travel as their factors with which a step is quicker so; the bits are the same.

        Return False if some may have agreed and others not, so that a new view is needed.
        """
        members, patience = self._hosts.members, self._config.timeout + MEASURING_SECONDS
        try:
            rates = ray.get([member.actor.rates.remote() for member in members], timeout=patience)
            itemsize = np.dtype(self._config.dtype).itemsize
            layers = choose_factored_layers(
                self._hosts.structure, self._rows_per_shard, self._shards, len(members), itemsize, rates
            )
            if layers:
                ray.get([member.actor.agree.remote(layers) for member in members], timeout=patience)
        except RayError:  # one is lost, or has too little memory
            self._can_factor = False
            return False
        return True

    def _new_view(self) -> View:
        self._views += 1
        members = self._hosts.members
        could_factor = self._can_factor and len(members) > 1
        return View(
            self._views,
            tuple(member.address for member in members),
            tuple(len(member.numbers) for member in members),
            servers_for(self._config.servers, len(members)),
            self._shards,
            self._config.wire,
            self._config.timeout,
            measures=could_factor and bool(factorable_layers(self._hosts.structure, self._rows_per_shard)),
        )
