"""gradcheck finds a single wrong component of a gradient and names it."""

from typing import Any

import pytest

import distbp
from distbp.nn.backprop import Backprop


@pytest.mark.parametrize(
    ("layer", "part", "place", "name"),
    [
        (1, "w", (0, 0), "w[0, 0]"),
        (1, "w", (3, 2), "w[3, 2]"),
        (2, "w", (4, 1), "w[4, 1]"),
        (2, "b", (0,), "b[0]"),
        (3, "w", (1, 4), "w[1, 4]"),
        (3, "b", (1,), "b[1]"),
    ],
)
def test_the_wrong_derivative_is_named(
    layer: int, part: str, place: tuple[int, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Backprop.gradient

    def wrong(self: Backprop, layers: Any, x: Any, y: Any, out: Any) -> Any:
        sums = right(self, layers, x, y, out)
        getattr(out[layer - 1], part)[place] += 0.5
        return sums

    monkeypatch.setattr(Backprop, "gradient", wrong)
    found = distbp.gradcheck((3, 4, 5, 2), activation="tanh")
    assert not found.passes()
    assert (found.layer, found.parameter) == (layer, name)
    assert found.backprop - found.differences == pytest.approx(0.5, abs=1e-5)
    assert f"the worst is {name} of layer {layer}: backprop" in str(found)
