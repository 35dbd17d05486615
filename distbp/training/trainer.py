"""Training step by step, for loops of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from types import TracebackType
from typing import Any, Self

import numpy as np

from distbp.config import Config
from distbp.data.dataset import PIXEL_FACTOR
from distbp.data.loading import load_as
from distbp.data.reading import Reading
from distbp.data.sources import Source
from distbp.errors import Interrupted, UsageError
from distbp.model.network import Evaluation, Network, evaluate
from distbp.parallel.step.executor import ManagedExecutor
from distbp.parallel.step.records import StepRecord
from distbp.system.blas import one_thread, unpinned_notes
from distbp.training.callbacks import Callback, Callbacks, RunRecord
from distbp.training.executors import initial_state, started_executor
from distbp.training.setup import notes, settle, with_network, with_parts


class Trainer:
    """Does one step at a time, in this process or on workers, with the bits of :func:`distbp.train`.

    A ``with`` block starts and stops the workers. Nothing is written to the disk and nothing is measured beside what
    the steps themselves tell. BLAS keeps to one thread in this process until the block ends, and to ``threads`` while
    shards are computed here.

    Callbacks are told the block's begin (``on_start``) and end (``on_end``, with the error that ends it), the steps and
    the notes; epochs and checkpoints are none of its. Once ``on_step`` returned True no more steps are done.

    >>> with Trainer("digits", workers=0, epochs=10) as trainer:
    ...     while trainer.step_number < trainer.steps:
    ...         record = trainer.step()
    ...     accuracy = trainer.evaluate().accuracy
    >>> record.step, accuracy > 0.8
    (119, True)
    """

    def __init__(
        self,
        data: Source | Sequence[Source],
        config: Config | None = None,
        *,
        network: Network | None = None,
        callbacks: Sequence[Callback] = (),
        **settings: Any,
    ) -> None:
        """Read the data; the arguments are those of :func:`distbp.train`.

        Raises:
            UsageError: a setting is wrong, or needs the costs of whole epochs (plateau, early_stopping).
            DataError: the data cannot be used.
        """
        if config is not None and settings:
            raise UsageError(f"give a config or settings by name, not both: found {', '.join(settings)}")
        wanted = config or Config.from_settings(settings)
        if network is not None:
            wanted = with_network(wanted, network)
        if wanted.early_stopping is not None or wanted.schedule == "plateau":
            raise UsageError(
                "early_stopping and schedule plateau look at whole epochs: use distbp.train, or do it here"
            )
        self._callbacks = Callbacks(callbacks)
        loaded = load_as(list(data) if isinstance(data, list) else [data], Reading.of(wanted), self._note)
        self.data = with_parts(wanted, loaded)
        self.config, self.structure = settle(wanted, self.data, network)
        self._initial = initial_state(self.structure, self.config, network)
        self._exit = ExitStack()
        self._pool: ManagedExecutor | None = None
        self.steps_per_epoch = -(-len(self.data.train) // min(self.config.batch_size, len(self.data.train)))
        """How many steps see every row once."""
        self.stopped = False
        """Whether a callback returned True from ``on_step``."""

    @property
    def steps(self) -> int:
        """How many steps the settings ask for; the schedule ends there."""
        return self.config.epochs * self.steps_per_epoch

    @property
    def step_number(self) -> int:
        """The steps done so far."""
        return self._running.step

    @property
    def _running(self) -> ManagedExecutor:
        if self._pool is None:
            raise UsageError("the trainer is not running: use it in a with block")
        return self._pool

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(one_thread(self.config.threads))
            for text in (*unpinned_notes(), *notes(self.config, self.data)):
                self._note(text)
            rows, state = self.data.train, self._initial
            pool = started_executor(self.structure, self.config, rows, state, self._note, self.steps, 0)
            self._pool = stack.enter_context(pool)
            stack.callback(self._over)
            stack.enter_context(self._callbacks.until_end())
            self._callbacks.tell("on_start", self._begin(self._pool))
            self._exit = stack.pop_all()
        return self

    def _begin(self, pool: ManagedExecutor) -> RunRecord:
        data = self.data
        columns = data.preprocessing.described() if data.preprocessing is not None else ()
        rows = len(data.train), len(data.test)
        return RunRecord(
            pool.config, self.structure, *rows, self.steps_per_epoch, None, pool.step, columns, pool.workers
        )  # fmt: skip

    def _over(self) -> None:
        self._pool = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._exit.__exit__(kind, error, at)

    def _note(self, text: str) -> None:
        self._callbacks.tell("on_note", text)

    def step(self) -> StepRecord:
        """Do the next step; return its cost before the update, and what else is known of it.

        Raises:
            UsageError: all steps are done, or the trainer is not running.
            Interrupted: a callback wanted the step before to be the last (see ``stopped``).
            TrainingError: as in :func:`distbp.train`; the weights of the last good step are kept.
        """
        pool = self._running
        if self.stopped:
            raise Interrupted(f"a callback stopped the trainer after step {pool.step}")
        if pool.step >= self.steps:
            raise UsageError(f"all {self.steps} steps of {self.config.epochs} epochs are done: ask for more epochs")
        with closing(pool.steps(pool.step + 1)) as records:
            (record,) = records
        self._callbacks.step = record.step + 1
        self.stopped = self._callbacks.tell("on_step", record)
        return record

    def __iter__(self) -> Iterator[StepRecord]:
        """Do all steps that are left, one by one, or until a callback stops it."""
        while not self.stopped and self.step_number < self.steps:
            yield self.step()

    @property
    def network(self) -> Network:
        """The network with the weights as they are now; later steps do not change it."""
        train = self.data.train
        factor = train.factor if train.x.dtype == np.uint8 else PIXEL_FACTOR
        weights = self._running.state()[0]
        return Network.of(self.structure, weights, self.data.classes, factor, self.data.preprocessing)

    def evaluate(self) -> Evaluation:
        """Measure the network as it is now on the test rows."""
        return evaluate(self.network, self.data.test)
