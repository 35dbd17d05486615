"""Measure one host's computation of a step: the gradient of its share of the rows, without the exchange.

PyTorch's time includes the update of all weights, which every process does; distbp's does not: the servers share it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch_loop import Part
from work import Work, say, timed

from distbp.data import load
from distbp.parallel.step.shards import Span
from distbp.parallel.step.worker import Worker
from distbp.planning.bench import CASES, UNTIMED_STEPS
from distbp.system.blas import one_thread
from distbp.training.executors import initial_state
from distbp.training.setup import settle


def ddp_step(work: Work, hosts: int) -> Callable[[int], None]:
    """Return a function that does the first process's part of a step in PyTorch."""
    torch.set_num_threads(1)
    part = Part(work.prepare(), lambda model: model, rank=0, processes=hosts)
    batches = part.rows(range(timed(work).stop))
    return lambda step: part.step(batches[step])


def distbp_step(work: Work, hosts: int) -> Callable[[int], None]:
    """Return a function that computes the first worker's push of a step and gathers the next step's rows."""
    data = load(work.data)
    config, structure = settle(CASES[work.case].config(hosts), data, None)
    worker = Worker(structure, config, data.train)
    weights = initial_state(structure, config)[0]
    vectors = [structure.parameters(vector) for vector in (weights, np.empty_like(weights))]

    def step(number: int) -> None:
        worker.compute(number, Span(0, 1), vectors[0], vectors[1:])
        worker.prefetch(number + 1, Span(0, 1))

    return step


STEPS = {"ddp": ddp_step, "distbp": distbp_step}


def main() -> None:
    """Do the steps and report their mean: a host that has used up its CPU share pauses at times."""
    parser = Work.parser(__doc__)
    parser.add_argument("--contestant", choices=list(STEPS), required=True)
    parser.add_argument("--hosts", type=int, required=True, metavar="N", help="number of hosts that share the rows")
    options = parser.parse_args()
    work = Work.from_options(options)
    with one_thread():
        step = STEPS[options.contestant](work, options.hosts)
        for number in range(UNTIMED_STEPS):
            step(number)
        began = time.perf_counter()
        for number in timed(work):
            step(number)
        say({"step_ms": 1000 * (time.perf_counter() - began) / work.steps})


if __name__ == "__main__":
    main()
