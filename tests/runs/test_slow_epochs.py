"""Runs with very slow epochs are read and shown."""

import json
from pathlib import Path

import pytest

from distbp.errors import RunError
from distbp.runs.records import read_metrics


def written(folder: Path, speed: float | None) -> Path:
    record = {"epoch": 1, "steps": 1, "seconds": 8.0, "train_cost": 1.0, "samples_per_second": speed}
    (folder / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    return folder


@pytest.mark.parametrize("speed", [0.0, 0.25, 1.0, None])
def test_less_than_a_row_a_second_is_a_speed_too(tmp_path: Path, speed: float | None) -> None:
    assert read_metrics(written(tmp_path, speed))[0]["samples_per_second"] == speed


def test_a_speed_below_0_is_damage(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="samples_per_second"):
        read_metrics(written(tmp_path, -1.0))
