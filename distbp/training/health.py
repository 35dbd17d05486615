"""Network health: findings about layers, in words, from the statistics of an epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from distbp.config import name_of
from distbp.errors import DivergedError
from distbp.model.inspection import shares
from distbp.model.network import Network
from distbp.nn.structure import Array, Structure
from distbp.parallel.step.diagnosis import layer_norms
from distbp.parallel.step.records import StepRecord
from distbp.runs.epoch_sums import DiagnosisMeans, EpochSums

VANISHING = 1e-3
"""Least healthy gradient per weight, as a share of the output layer's; healthy networks have hundredths and more."""
LARGE_UPDATE = 0.5
"""Largest healthy update of a layer, as a share of its weights; usual are thousandths to hundredths."""
_EXPLODING = 10.0
"""Largest healthy growth of the norm of a layer's weights; 300 epochs on digits reach up to 5."""
_SATURATED = 0.5
_DEAD = 0.5


class Finding(NamedTuple):
    """A judgement about a layer, with a remedy."""

    kind: str
    """vanishing, exploding, saturated or dead."""
    layer: int
    text: str


def layer_records(network: Network, means: DiagnosisMeans, x: Any) -> list[dict[str, float]]:
    """Return the record of each layer for metrics.jsonl; saturated and dead units are counted on the rows ``x``."""
    layers: list[dict[str, float]] = []
    for gradient, update, share in zip(means.gradient_norms, means.update_ratios, shares(network, x), strict=True):
        layers.append({"gradient_norm": gradient, "update_ratio": update, **share})
    return layers


class Health:
    """Examines the network after each epoch and compares it with the start of the run."""

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        """Start a run, or continue from what :meth:`to_json` returned before the run was resumed."""
        saved = saved or {}
        self._first_cost: float | None = saved.get("cost")
        self._initial_norms: Sequence[float] = saved.get("norms", ())

    def to_json(self) -> dict[str, Any]:
        """Return the first cost and the initial norms in JSON types."""
        return {"cost": self._first_cost, "norms": list(self._initial_norms)}

    def begin(self, structure: Structure, weights: Array) -> None:
        """Remember the norms of the initial weights."""
        self._initial_norms = layer_norms(structure.layers(weights))

    def add(self, record: StepRecord) -> None:
        """Remember the cost of the run's first step."""
        if self._first_cost is None:
            self._first_cost = record.cost

    def examine(
        self, network: Network, sums: EpochSums, step: int, x: Array
    ) -> tuple[dict[str, Any], DivergedError | None]:
        """Return the health part of an epoch's record, and the error that must end the run, if there is one."""
        layers = layer_records(network, sums.diagnosis, x)
        found = findings(network.structure, layers)
        error = self._explosion(network, sums.mean_cost, step)
        if error is not None:
            found.insert(0, Finding("exploding", error.layer, str(error)))
        as_json = [finding._asdict() for finding in found]
        return {"noise_scale": sums.diagnosis.noise_scale, "layers": layers, "findings": as_json}, error

    def _explosion(self, network: Network, cost: float, step: int) -> DivergedError | None:
        """Return an error if both the weights of a layer and the total cost have grown too much since the start."""
        if self._first_cost is None or not self._initial_norms or cost < self._first_cost:
            return None
        norms = layer_norms(network.structure.layers(network.weights))
        growth = [norm / before if before else 1.0 for norm, before in zip(norms, self._initial_norms, strict=True)]
        largest = max(growth)
        if largest <= _EXPLODING:
            return None
        layer = growth.index(largest) + 1
        text = (
            f"the norm of the weights after step {step} is {largest:,.3g} times the initial one in layer {layer}, and "
            f"the total cost went from {self._first_cost:.4g} to {cost:.4g}: exploding. Try a lower --lr, or "
            "--clip-norm"
        )
        return DivergedError("a weight", step, layer, text)


def findings(structure: Structure, layers: Sequence[Mapping[str, float]]) -> list[Finding]:
    """Return the findings that follow from the records of the layers."""
    found = []
    counts = np.diff(structure.bounds)
    slopes = [layer["gradient_norm"] / math.sqrt(count) for layer, count in zip(layers, counts, strict=True)]
    for l, (layer, activation) in enumerate(zip(layers, structure.activations, strict=True), start=1):
        name, is_hidden = name_of(activation), l < structure.depth
        saturated, dead = layer.get("saturated", 0.0), layer.get("dead", 0.0)
        if is_hidden and slopes[-1] > 0 and slopes[l - 1] < VANISHING * slopes[-1]:
            text = _vanishing(l, slopes[l - 1] / slopes[-1], name, saturated, structure.cost)
            found.append(Finding("vanishing", l, text))
        elif is_hidden and saturated >= _SATURATED:
            text = (
                f"layer {l}: {100 * saturated:.0f} % of {name} units saturated, so they learn slowly. Try smaller "
                "initial weights, inputs scaled to about -1..1, or relu"
            )
            found.append(Finding("saturated", l, text))
        if is_hidden and dead >= _DEAD:
            text = (
                f"layer {l}: {100 * dead:.0f} % of {name} units are 0 for every row examined, so they no longer "
                "learn. Try a lower --lr, or leaky-relu"
            )
            found.append(Finding("dead", l, text))
        if layer["update_ratio"] > LARGE_UPDATE:
            text = (
                f"layer {l}: a step changes it by {100 * layer['update_ratio']:,.0f} % of its weights: exploding. "
                "Try a lower --lr, or --clip-norm"
            )
            found.append(Finding("exploding", l, text))
    return found


def _vanishing(l: int, ratio: float, activation: str, saturated: float, cost: object) -> str:
    share = f"{100 * saturated:.0f} % of {activation} units saturated, " if saturated else ""
    remedy = "relu with He initialisation" if activation in ("sigmoid", "tanh") else "a higher --lr or fewer layers"
    remedy += ", or cross-entropy" if cost == "mse" else ""
    return (
        f"layer {l}: {share}its gradient per weight is {ratio:.0e} of the output layer's: vanishing gradient. "
        f"Try {remedy}"
    )
