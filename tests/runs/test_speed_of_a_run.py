"""The speed in the summary is the number of rows divided by the duration of the steps."""

import math

import pytest

import distbp


def test_the_speed_of_a_run_is_its_rows_over_the_seconds_of_its_epochs() -> None:
    result = distbp.train("digits", workers=0, epochs=3, hidden=(8,))
    rows = 1437 * 3
    seconds = sum(record["seconds"] for record in result.history)
    speed = result.summary["samples_per_second"]
    assert math.isfinite(speed)
    assert speed >= rows / result.summary["wall_seconds"]
    assert speed == pytest.approx(rows / seconds)
