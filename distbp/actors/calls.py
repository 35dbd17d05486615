"""Steps through Ray's actor calls and object references: slower, but it reaches actors on other hosts."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np

from distbp.actors.crew import Crew
from distbp.data.dataset import Array
from distbp.data.order import Order
from distbp.parallel.pool import shards_of
from distbp.parallel.records import StepRecord
from distbp.parallel.shards import cut


class CallPath:
    """Drives a crew step by step; weights and gradients lie in Ray's object store."""

    def __init__(self, crew: Crew, order: Order, step: int) -> None:
        assert crew.config.shards is not None
        self._crew = crew
        self._order = order
        self._shards = crew.config.shards
        self.step = step

    def steps(self, stop: int) -> Generator[StepRecord, None, None]:
        """Do the steps up to before ``stop``; yield each one's record after its update was applied."""
        server: Any = self._crew.server
        weights = server.pull.remote()
        while self.step < stop:
            began = time.perf_counter()
            whole = shards_of(self._order, self.step, self._shards)
            pushed = [
                worker.push.options(num_returns=2).remote(self.step, held, weights)
                for worker, held in zip(self._crew.workers, cut(whole.stop, len(self._crew.workers)), strict=False)
            ]
            reports, sums = zip(*pushed, strict=True)
            done, weights = server.update.options(num_returns=2).remote(self.step, *reports, *sums)
            record: StepRecord = self._crew.get([done], f"in step {self.step}")[0]
            record.check()
            self.step += 1
            yield replace(record, seconds=time.perf_counter() - began)

    def restart(self, state: Array) -> None:
        """Go back to before step 0, with this state."""
        self._crew.get([self._crew.server.restart.remote(state)], "while it went back to the start")
        self.step = 0

    def state(self) -> Array:
        """Return a copy of weights and optimizer state, shape (1 + slots, parameters)."""
        return np.array(self._crew.get([self._crew.server.state.remote()], f"after step {self.step - 1}")[0])
