"""Workers and all steps since the last checkpoint are lost: records and weights count each row once."""

import json

import pytest

import distbp
from distbp.errors import ClusterError
from distbp.parallel.step.executor import InProcessExecutor
from distbp.runs.steplog import read_steps
from distbp.training.executors import start

SETTINGS = {"workers": 0, "epochs": 3, "hidden": (8,), "batch_size": 100}
"""With 15 steps in an epoch."""


class Losing(InProcessExecutor):
    """Executor that loses all steps since its state was last read, once, after ``lost_after`` steps."""

    lost_after = 0

    def state(self):
        self.kept = super().state(), self.step
        return self.kept[0].copy()

    def steps(self, stop, factor=1.0):
        for record in super().steps(stop, factor):
            yield record
            if self.step == self.lost_after:
                self.restart(*self.kept)
                raise ClusterError("all hosts are gone")


def costs(run):
    return [json.loads(line)["train_cost"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("lost_after", [4, 20, 29])
def test_a_run_that_returns_to_an_earlier_step_counts_each_row_once(tmp_path, monkeypatch, lost_after):
    alone = distbp.train("digits", run_dir=tmp_path / "alone", **SETTINGS)
    with monkeypatch.context() as losing:
        losing.setattr(start, "InProcessExecutor", Losing)
        losing.setattr(Losing, "lost_after", lost_after)
        with pytest.raises(ClusterError):
            distbp.train("digits", run_dir=tmp_path / "lost", **SETTINGS)
    resumed = distbp.resume(tmp_path / "lost")
    assert resumed.summary["weights_sha256"] == alone.summary["weights_sha256"]
    assert costs(tmp_path / "lost") == costs(tmp_path / "alone")
    lost, undisturbed = (read_steps(tmp_path / name).records for name in ("lost", "alone"))
    assert lost.tobytes() == undisturbed.tobytes()
