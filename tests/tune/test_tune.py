"""Ray Tune: trials on their own CPUs are stopped by ASHA, killed and resumed, and leave nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import HANG_SECONDS, nothing_left

import distbp
import distbp.tune
from distbp.errors import UsageError


@pytest.mark.long
@pytest.mark.ray
def test_eight_trials_under_asha_of_which_two_are_killed(tmp_path):
    pytest.importorskip("ray.tune", reason="ray[tune] is not installed")
    import trials

    with nothing_left() as environment:
        done = subprocess.run(
            [sys.executable, str(Path(trials.__file__)), str(tmp_path), "8", "2"],
            env={**environment, "PYTHONPATH": str(Path(distbp.__file__).parents[1])},
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["left"] == []
    found = told["trials"]
    assert len(found) == 8
    assert [trial["error"] for trial in found] == [""] * 8
    assert all(trial["checkpoint"] for trial in found)
    assert all((tmp_path / f"resumed-killed-{k}").exists() for k in range(2))
    epochs = {trial["lr"]: trial["epoch"] for trial in found}
    assert min(epochs.values()) >= 3
    assert epochs[0.03] == trials.EPOCHS  # the best trial, which was killed once
    assert sum(epoch < trials.EPOCHS for epoch in epochs.values()) >= 3  # the trials that ASHA stopped
    summary = json.loads((tmp_path / "done-0").read_text())
    alone = distbp.train("digits", workers=0, lr=trials.RATES[0], **trials.SETTINGS).summary
    assert summary["weights_sha256"] == alone["weights_sha256"]
    assert (summary["workers"], summary["recoveries"]) == (1, 1)


def test_tune_train_outside_of_a_trial_is_refused():
    pytest.importorskip("ray.tune", reason="ray[tune] is not installed")
    with pytest.raises(UsageError, match="works only inside a Ray Tune trial"):
        distbp.tune.train("digits")
