"""The noise scale of an epoch is the ratio of two means, and None unless both are above 0."""

import pytest

from distbp.runs.epoch_sums import DiagnosisMeans


@pytest.mark.parametrize(
    ("spread", "signal", "found"),
    [(6.0, 2.0, 3.0), (6.0, 0.0, None), (6.0, -1.0, None), (0.0, 2.0, None), (-6.0, 2.0, None), (-6.0, -2.0, None)],
)
def test_the_noise_scale_is_unknown_unless_spread_and_signal_are_above_0(
    spread: float, signal: float, found: float | None
) -> None:
    means = DiagnosisMeans({"steps": 4, "gradient": [], "update": [], "spread": spread, "signal": signal})
    assert means.noise_scale == found
