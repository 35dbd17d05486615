"""How the hosts of a run come together: in a new view whenever somebody leaves or joins."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from distbp.actors.hosts import Hosts
from distbp.errors import PeerLostError
from distbp.parallel.mesh.factors import MEASURING_SECONDS, candidates, choose
from distbp.parallel.mesh.view import View, servers_for


class Meeting:
    """Makes the views, all with the run's secret, which nobody else knows."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts, self._config = hosts, hosts.config
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
        deadline, left_out = time.monotonic() + self._config.wait, 0
        while self._hosts.members:
            view = self._new_view()
            missing = self._missing(view, step)
            if not missing:
                if not view.measures or self._factors_agreed():
                    break
                continue
            for member in [self._hosts.members[number] for number in missing]:
                left_out += 1
                self._hosts.note(f"{member.name} cannot be reached by the others in step {step}")
                self._hosts.lose(member)
            if time.monotonic() > deadline:
                raise PeerLostError(f"the hosts did not reach each other within {self._config.wait:g} s (--wait)")
        return left_out

    def _missing(self, view: View, step: int) -> list[int]:
        """Let all members connect; return the numbers of those that are missed by most."""
        members = self._hosts.members
        calls = [member.actor.meet.remote(view, number, step, self._secret) for number, member in enumerate(members)]
        ray.wait(calls, num_returns=len(calls), timeout=2 * self._config.timeout)
        missed: Counter[int] = Counter()
        for number, call in enumerate(calls):
            answer = _answered(call)
            missed.update({number: len(members)} if answer is None else dict.fromkeys(answer, 1))
        return [number for number, count in missed.items() if count == max(missed.values())]

    def _factors_agreed(self) -> bool:
        """Let those layers travel as their factors with which a step is quicker so; the bits are the same.

        Return False if some may have agreed and others not, so that a new view is needed.
        """
        members, patience = self._hosts.members, self._config.timeout + MEASURING_SECONDS
        try:
            rates = ray.get([member.actor.rates.remote() for member in members], timeout=patience)
            itemsize = np.dtype(self._config.dtype).itemsize
            layers = choose(self._hosts.structure, self._rows_per_shard, self._shards, len(members), itemsize, rates)
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
            measures=could_factor and bool(candidates(self._hosts.structure, self._rows_per_shard)),
        )


def _answered(call: Any) -> dict[int, str] | None:
    """Return what a host said of those it was to meet; None if it said nothing."""
    if not ray.wait([call], timeout=0)[0]:
        return None
    try:
        answer: dict[int, str] = ray.get(call)
    except RayError:
        return None
    return answer
