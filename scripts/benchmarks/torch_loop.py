"""The training loop of both PyTorch peers, as fast as plain PyTorch allows: one process's part of every mini-batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from work import MOMENTUM, RATE, Prepared, Work, report, timed

from distbp.planning.bench import UNTIMED_STEPS

PROCESSES = 2
DDP_OPTIONS = {"gradient_as_bucket_view": True, "static_graph": True}
"""What makes DistributedDataParallel faster and applies to these networks."""


def network(prepared: Prepared) -> nn.Module:
    """Return the case's network with the initial weights of all contestants."""
    layers: list[nn.Module] = []
    for w, b in prepared.structure.layers(prepared.weights):
        linear = nn.Linear(w.shape[1], w.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


class Part:
    """One process's part of the work."""

    def __init__(self, prepared: Prepared, wrap: Callable[[nn.Module], nn.Module], rank: int, processes: int) -> None:
        self._order = prepared.order
        self._rank, self._processes = rank, processes
        self._x, self._y = torch.from_numpy(prepared.train.x), torch.from_numpy(prepared.train.y)
        self._test = torch.from_numpy(prepared.test.x), torch.from_numpy(prepared.test.y)
        self._model = wrap(network(prepared))
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=RATE, momentum=MOMENTUM, fused=True)

    def rows(self, steps: range) -> list[torch.Tensor]:
        """Return this process's row numbers of each step."""
        return [torch.from_numpy(np.array_split(self._order.rows(step), self._processes)[self._rank]) for step in steps]

    def step(self, rows: torch.Tensor) -> None:
        """Do one update."""
        x, y = self._x.index_select(0, rows), self._y.index_select(0, rows)
        self._optimizer.zero_grad(set_to_none=True)
        cross_entropy(self._model(x), y).backward()
        self._optimizer.step()

    def accuracy(self) -> float:
        """Return the accuracy on the test rows; each process of the group evaluates its part."""
        x, y = (torch.tensor_split(whole, self._processes)[self._rank] for whole in self._test)
        with torch.no_grad():
            counts = torch.tensor([(self._model(x).argmax(dim=1) == y).sum().item(), len(y)])
        dist.all_reduce(counts)
        right, rows = counts.tolist()
        return float(right / rows)


def run(work: Work, wrap: Callable[[nn.Module], nn.Module]) -> dict[str, Any]:
    """Do this process's part of the work, together with its group; return a report in every process."""
    torch.set_num_threads(1)
    prepared = work.prepare()
    part = Part(prepared, wrap, dist.get_rank(), dist.get_world_size())
    return _measure(work, prepared, part) if work.target is None else _reach(work.target, prepared, part)


def _measure(work: Work, prepared: Prepared, part: Part) -> dict[str, Any]:
    for rows in part.rows(range(UNTIMED_STEPS)):
        part.step(rows)
    batches = part.rows(timed(work))
    dist.barrier()
    times = [time.perf_counter()]
    for rows in batches:
        part.step(rows)
        times.append(time.perf_counter())
    dist.barrier()
    seconds = time.perf_counter() - times[0]
    steps = [after - before for before, after in pairwise(times)]
    return report(prepared.rows_in(timed(work)), seconds, steps, part.accuracy())


def _reach(target: float, prepared: Prepared, part: Part) -> dict[str, Any]:
    accuracy, epoch, length = 0.0, 0, prepared.order.steps_per_epoch
    while accuracy < target:
        for rows in part.rows(range(epoch * length, (epoch + 1) * length)):
            part.step(rows)
        accuracy, epoch = part.accuracy(), epoch + 1
    return {"epochs": epoch, "test_accuracy": accuracy}
