"""The record of an epoch that an explosion cuts short."""

import json
from pathlib import Path
from typing import Any

import pytest

import distbp
from distbp.errors import DivergedError


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_an_epoch_that_diverges_is_recorded_with_its_steps_and_the_layer(tmp_path: Path) -> None:
    # after the first update the squares of the outputs overflow, so the second step diverges; an epoch has 80 steps
    settings: dict[str, Any] = {"activation": "relu", "cost": "mse", "output": "identity", "lr": 1e30, "seed": 0}
    x = [[float(k % 7), float(k % 3)] for k in range(1000)]
    y = [float(k % 5) for k in range(1000)]
    with pytest.raises(DivergedError) as raised:
        distbp.train((x, y), workers=0, batch_size=10, epochs=3, run_dir=tmp_path / "run", **settings)
    (record,) = records(tmp_path / "run")
    (finding,) = record["findings"]
    assert record["epoch"] == 1
    assert record["steps"] == raised.value.step
    assert finding == {"kind": "exploding", "layer": raised.value.layer, "text": str(raised.value)}


def test_an_explosion_in_an_epochs_record_is_not_recorded_twice(tmp_path: Path) -> None:
    """Also with earlier epochs: only the last record is checked."""
    with pytest.raises(DivergedError, match="exploding"):
        distbp.train("digits", lr=10.0, warmup=600, workers=0, epochs=60, seed=0, run_dir=tmp_path / "run")
    found = records(tmp_path / "run")
    assert len(found) > 2
    assert [any(each["kind"] == "exploding" for each in record["findings"]) for record in found[-2:]] == [False, True]
    assert len({record["epoch"] for record in found}) == len(found)
