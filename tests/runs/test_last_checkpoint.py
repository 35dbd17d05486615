"""After an error a run writes a last checkpoint and reports it to the callbacks."""

from pathlib import Path

import pytest

import distbp
from distbp.errors import CallbackError


class Leaves(distbp.Callback):
    """Ends the run with an error after a step, and keeps the checkpoint records."""

    def __init__(self, step: int) -> None:
        self._step = step
        self.checkpoints: list[distbp.CheckpointRecord] = []

    def on_step(self, record: distbp.StepRecord) -> None:
        if record.step == self._step:
            raise RuntimeError("enough")

    def on_checkpoint(self, record: distbp.CheckpointRecord) -> None:
        assert record.path.is_file()
        self.checkpoints.append(record)


def test_the_checkpoint_after_an_error_is_reported(tmp_path: Path) -> None:
    leaves = Leaves(17)
    with pytest.raises(CallbackError):
        distbp.train("digits", workers=0, epochs=4, run_dir=tmp_path / "run", callbacks=[leaves])
    written = {path.name for path in (tmp_path / "run" / "checkpoints").glob("step-*")}
    assert leaves.checkpoints[-1].path.name in written
    assert leaves.checkpoints[-1].path.name == max(written)
    assert leaves.checkpoints[-1].step == 18  # 12 make an epoch
