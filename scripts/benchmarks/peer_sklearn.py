"""scikit-learn's MLPClassifier in one process with two BLAS threads.

Its rows come in order, so it slices mini-batches where the other contestants must gather them.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits
from work import KNOWN, MOMENTUM, RATE, Prepared, Work, report, say, timed

from distbp.planning.bench import UNTIMED_STEPS

BLAS_THREADS = 2


class Peer:
    """A classifier that continues from its current weights."""

    def __init__(self, work: Work, prepared: Prepared) -> None:
        self._prepared = prepared
        self._model = MLPClassifier(
            KNOWN[work.case].hidden,
            solver="sgd",
            learning_rate_init=RATE,
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            alpha=0.0,
            batch_size=KNOWN[work.case].batch_size,
            shuffle=False,
        )
        train = prepared.train
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the mini-batch is larger than one row
            self._model.partial_fit(train.x[:1], train.y[:1], classes=np.unique(train.y))
        # That row only allocated the arrays; now they get their initial values, and the momentum restarts.
        for l, (w, b) in enumerate(prepared.structure.layers(prepared.weights)):
            self._model.coefs_[l][:] = w.T
            self._model.intercepts_[l][:] = b
        del self._model._optimizer

    def steps(self, steps: range) -> float:
        """Do these steps, an epoch at a time; return their seconds without the time to order the rows."""
        seconds, length = 0.0, self._prepared.order.steps_per_epoch
        first = steps.start
        while first < steps.stop:
            stop = min(steps.stop, (first // length + 1) * length)
            rows = np.concatenate([self._prepared.order.rows(step) for step in range(first, stop)])
            x, y = self._prepared.train.x[rows], self._prepared.train.y[rows]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                began = time.perf_counter()
                self._model.partial_fit(x, y)
                seconds += time.perf_counter() - began
            first = stop
        return seconds

    def accuracy(self) -> float:
        """Return the accuracy on the test rows."""
        return float(self._model.score(self._prepared.test.x, self._prepared.test.y))


def measure(work: Work, prepared: Prepared, peer: Peer) -> dict[str, Any]:
    """Time steps; single steps are not visible, so ``step_ms`` is their mean."""
    peer.steps(range(UNTIMED_STEPS))
    seconds = peer.steps(timed(work))
    return report(prepared.rows_in(timed(work)), seconds, [seconds / work.steps], peer.accuracy())


def reach(target: float, prepared: Prepared, peer: Peer) -> dict[str, Any]:
    """Train until an epoch reaches this accuracy."""
    accuracy, epoch, length = 0.0, 0, prepared.order.steps_per_epoch
    while accuracy < target:
        peer.steps(range(epoch * length, (epoch + 1) * length))
        accuracy, epoch = peer.accuracy(), epoch + 1
    return {"epochs": epoch, "test_accuracy": accuracy}


def main() -> None:
    """Do the work and report."""
    work = Work.from_command_line(__doc__)
    with threadpool_limits(BLAS_THREADS, user_api="blas"):
        prepared = work.prepare()
        peer = Peer(work, prepared)
        say(measure(work, prepared, peer) if work.target is None else reach(work.target, prepared, peer))


if __name__ == "__main__":
    main()
