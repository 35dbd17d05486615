"""Time only the BLAS: the 3L - 1 matrix products of each shard.

Each of two processes with one BLAS thread works on half of the mini-batch, in preallocated arrays. Nothing is trained,
so there is no accuracy.
"""

from __future__ import annotations

import multiprocessing
import time
from itertools import pairwise
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from work import KNOWN, Work, report, say, timed

from distbp.planning.bench import UNTIMED_STEPS

PROCESSES = 2

Array = NDArray[np.float32]


class Product(NamedTuple):
    """The product ``left @ right``, written to ``out``."""

    left: Array
    right: Array
    out: Array


def products(sizes: tuple[int, ...], rows: int) -> list[Product]:
    """Return a shard's matrix products in the order in which backprop needs them."""
    random = np.random.default_rng(0)

    def filled(*shape: int) -> Array:
        return random.standard_normal(shape, np.float32)

    w = [filled(m, m_prev) for m_prev, m in pairwise(sizes)]
    a = [filled(rows, m) for m in sizes]
    delta = [filled(rows, m) for m in sizes]
    forward = [Product(a[l], w[l].T, np.empty_like(a[l + 1])) for l in range(len(w))]
    backward = []
    for l in reversed(range(len(w))):
        backward.append(Product(delta[l + 1].T, a[l], np.empty_like(w[l])))
        if l > 0:
            backward.append(Product(delta[l + 1], w[l], np.empty_like(delta[l])))
    return forward + backward


def process(work: Work, sizes: tuple[int, ...], rows: int, start: Barrier, results: SimpleQueue[list[float]]) -> None:
    """Run one of the processes; put the seconds of each timed step."""
    with threadpool_limits(1, user_api="blas"):
        shard = products(sizes, rows)
        times = []
        for step in range(timed(work).stop):
            if step == UNTIMED_STEPS:
                start.wait()
                times.append(time.perf_counter())
            for product in shard:
                np.matmul(product.left, product.right, out=product.out)
            if step >= UNTIMED_STEPS:
                times.append(time.perf_counter())
    results.put([after - before for before, after in pairwise(times)])


def measure(work: Work) -> dict[str, Any]:
    """Return the speed of the slowest process."""
    sizes, batch_size = work.prepare().structure.sizes, KNOWN[work.case].batch_size
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(PROCESSES), context.SimpleQueue()
    started = [
        context.Process(target=process, args=(work, sizes, batch_size // PROCESSES, start, results), daemon=True)
        for _ in range(PROCESSES)
    ]
    for one in started:
        one.start()
    slowest = max((results.get() for _ in started), key=sum)
    for one in started:
        one.join()
    return report(batch_size * work.steps, sum(slowest), slowest, None)


if __name__ == "__main__":
    say(measure(Work.from_command_line(__doc__)))
