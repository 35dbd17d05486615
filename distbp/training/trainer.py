"""Trainer: training step by step, for training loops written by the user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from types import TracebackType
from typing import Any, Self

from distbp.config import Config
from distbp.data.epoch_order import EpochOrder
from distbp.data.loading import load_as
from distbp.data.reading import Reading
from distbp.data.sources import Source
from distbp.errors import Interrupted, UsageError
from distbp.model.network import Evaluation, Network, evaluate
from distbp.parallel.step.executor import ManagedExecutor
from distbp.parallel.step.records import StepRecord
from distbp.system.blas import one_thread, unpinned_notes
from distbp.training.callbacks import Callback, Callbacks
from distbp.training.evaluation import Evaluator
from distbp.training.events import run_record
from distbp.training.executors import initial_state, start_executor
from distbp.training.setup import notes, settle, with_network, with_parts


class Trainer:
    """Does one step at a time, in this process or on workers, with the same bits as :func:`distbp.train`.

    A ``with`` block starts and stops the workers. Nothing is written to the disk. Inside the block, BLAS uses one
    thread in this process, and ``threads`` while it computes shards.

    Callbacks are notified of the start (``on_start``) and end (``on_end``) of the block, of steps and of notes; there
    are no epochs and no checkpoints. After ``on_step`` has returned True, no more steps are done.

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
                "early_stopping and schedule plateau need the costs of whole epochs: use distbp.train, or decide in "
                "your loop"
            )
        self._callbacks = Callbacks(callbacks)
        sources = list(data) if isinstance(data, list) else [data]
        self.data = with_parts(wanted, load_as(sources, Reading.of(wanted), self._callbacks.note))
        self._settings, self.structure = settle(wanted, self.data, network)
        self.config = self._settings.as_config()
        self._evaluator = Evaluator(self.structure, self.data)
        self._initial = initial_state(self.structure, self._settings, network)
        self._exit = ExitStack()
        self._executor: ManagedExecutor | None = None
        self.steps_per_epoch = EpochOrder.of(self._settings, len(self.data.train)).steps_per_epoch
        """Number of steps in which every row is used once."""
        self.stopped = False
        """Whether a callback returned True from ``on_step``."""

    @property
    def steps(self) -> int:
        """Number of steps that the settings ask for; the learning rate schedule ends there."""
        return self.config.epochs * self.steps_per_epoch

    @property
    def step_number(self) -> int:
        """Number of steps done so far."""
        return self._running.step

    @property
    def _running(self) -> ManagedExecutor:
        if self._executor is None:
            raise UsageError("the trainer is not running: use it in a with block")
        return self._executor

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(one_thread(self.config.threads))
            note, rows = self._callbacks.note, self.data.train
            for text in (*unpinned_notes(), *notes(self._settings, self.data)):
                note(text)
            state = self._initial
            executor = start_executor(stack, self.structure, self._settings, rows, state, note, self.steps, 0)
            self._executor = executor
            stack.callback(self._forget_executor)
            stack.enter_context(self._callbacks.until_end())
            run = run_record(executor, self._evaluator, len(rows), self.steps_per_epoch, None)
            self._callbacks.notify("on_start", run)
            self._exit = stack.pop_all()
        return self

    def _forget_executor(self) -> None:
        self._executor = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._exit.__exit__(kind, error, at)

    def step(self) -> StepRecord:
        """Do the next step; return its record, with the cost before the update.

        Raises:
            UsageError: all steps are done, or the trainer is not running.
            Interrupted: a callback stopped the trainer at the step before (see ``stopped``).
            TrainingError: as in :func:`distbp.train`; the weights of the last good step are kept.
        """
        executor = self._running
        if self.stopped:
            raise Interrupted(f"a callback stopped the trainer after step {executor.step}")
        if executor.step >= self.steps:
            raise UsageError(f"all {self.steps} steps of {self.config.epochs} epochs are done: ask for more epochs")
        with closing(executor.steps(executor.step + 1)) as records:
            (record,) = records
        self._callbacks.step = record.step + 1
        self.stopped = self._callbacks.notify("on_step", record)
        return record

    def __iter__(self) -> Iterator[StepRecord]:
        """Do the steps that are left, one by one, until a callback stops the trainer."""
        while not self.stopped and self.step_number < self.steps:
            yield self.step()

    @property
    def network(self) -> Network:
        """The network with the current weights; later steps do not change it."""
        return self._evaluator.network(self._running.state()[0])

    def evaluate(self) -> Evaluation:
        """Evaluate the current network on the test rows."""
        return evaluate(self.network, self.data.test)
