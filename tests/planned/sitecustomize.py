"""Ends or pauses a command's run as environment variables say; Python loads this module from its path.

DISTBP_TEST_END names a file: the run ends with the epoch during which the file appears. DISTBP_TEST_HOLD names a file:
the first run writes it after a checkpoint in the middle of an epoch, then pauses until it is killed.
"""

import importlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

END, HOLD = os.environ.get("DISTBP_TEST_END"), os.environ.get("DISTBP_TEST_HOLD")

if (END or HOLD) and sys.orig_argv[1:3] == ["-m", "distbp"]:
    train = importlib.import_module("distbp.cli.train")  # the package has the command under this name
    original = train.run_callbacks

    @contextmanager
    def planned(*given: Any, **named: Any) -> Iterator[list[Any]]:
        from distbp.training.callbacks import Callback, CheckpointRecord, EpochRecord, RunRecord

        class Plan(Callback):
            def on_start(self, run: RunRecord) -> None:
                self._steps_per_epoch = run.steps_per_epoch

            def on_epoch_end(self, record: EpochRecord) -> bool:
                return END is not None and Path(END).exists()

            def on_checkpoint(self, record: CheckpointRecord) -> None:
                if HOLD and not Path(HOLD).exists() and record.step % self._steps_per_epoch:
                    Path(HOLD).touch()
                    threading.Event().wait()

        with original(*given, **named) as callbacks:
            yield [*callbacks, Plan()]

    vars(train).update(run_callbacks=planned)
