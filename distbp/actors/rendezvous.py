"""The rendezvous of a run's hosts: all of them connect in a new view whenever one leaves or joins."""

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
    """Creates views and connects their hosts, which prove to each other that they know the run's secret."""

    def __init__(self, hosts: HostGroup) -> None:
        self._hosts, self._config = hosts, hosts.config
        self._last_members: list[HostHandle] = []
        """The hosts of the last view, which have the latest state."""
        self._views = 0
        """The number of views so far, including failed ones."""
        self._secret = secrets.token_bytes(32)
        self._can_factor = self._config.wire == "exact"
        self._shards = self._config.shards
        self._rows_per_shard = -(-hosts.batch_size // self._shards)

    def connect(self, step: int) -> int:
        """Connect all members with each other before ``step``; return the number of hosts that were left out.

        Raises:
            PeerLostError: hosts did not reach each other within --wait.
        """
        deadline, lost = time.monotonic() + self._config.wait, 0
        hosts = self._hosts
        while hosts.members:
            view, members = self._new_view(), list(hosts.members)
            unreached = self._unreached(view, step)
            settled = sum(member in self._last_members for member in members)  # newcomers are last in the list
            out = hosts_to_leave_out(unreached, settled)
            if not out:
                if not view.measures or self._factors_agreed():
                    break
                continue
            for number in out:
                lost += 1
                if unreached[number] is None:
                    hosts.note(
                        f"{members[number].name} gave no answer when the hosts connected in step {step}: it is left out"
                    )
                    hosts.lose(members[number])
                else:
                    hosts.leave_out(members[number], f"{self._why(members, unreached, number)} in step {step}")
            if time.monotonic() > deadline:
                raise PeerLostError(f"the hosts did not reach each other within {self._config.wait:g} s (--wait)")
        self._last_members = list(hosts.members)
        return lost

    def _unreached(self, view: View, step: int) -> list[dict[int, str] | None]:
        """Let all members connect; return for each the hosts that it did not reach, None if it did not answer."""
        members = self._hosts.members
        calls = [
            member.actor.join_view.remote(view, number, step, self._secret) for number, member in enumerate(members)
        ]
        ray.wait(calls, num_returns=len(calls), timeout=2 * self._config.timeout)
        return [self._answer(call, member) for call, member in zip(calls, members, strict=True)]

    def _answer(self, call: Any, member: HostHandle) -> dict[int, str] | None:
        """Return the hosts that a host did not reach, with the reasons; None if it has not answered, or has died."""
        answer: dict[int, str] | None = None
        try:
            if ray.wait([call], timeout=0)[0]:
                answer = ray.get(call)
        except RayError as error:
            try:
                death(error, member.name)
            except (TrainingError, ClusterError) as own:  # it concerns this host alone
                self._hosts.note(str(own))
        return answer

    def _why(self, members: Sequence[HostHandle], unreached: Sequence[Mapping[int, str] | None], number: int) -> str:
        """Return a description of a host's first failed connection."""
        own = unreached[number] or {}
        other = min([*own, *(host for host, others in enumerate(unreached) if number in (others or {}))])
        first, caller = sorted((number, other))  # of two hosts, the later one calls the other
        address, port = members[first].address
        why = (unreached[caller] or {}).get(first) or (unreached[first] or {}).get(caller)
        verb = "does not reach" if number == caller else "is not reached by"
        return f"{verb} {members[other].name} at {address}:{port} ({why})"

    def _factors_agreed(self) -> bool:
        """Choose the layers that travel faster as factors, and let all hosts agree on them.

        Return False if only some hosts may have agreed, so that a new view is needed.
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
        except RayError:  # a host is lost, or has too little memory
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
