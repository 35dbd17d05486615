"""Findings: what the numbers of an epoch say about the network's health, in plain words and only when it matters."""

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
from distbp.runs.sums import Means, Sums

VANISHING = 1e-3
"""Of the output layer's gradient, weight by weight; a healthy network has some hundredths and more."""
LARGE_UPDATE = 0.5
"""Of a layer's weights, in one step; healthy are thousandths to hundredths."""
_EXPLODING = 10.0
"""How many times longer than at the start a layer's weights are; 300 healthy epochs on digits gave up to 5."""
_SATURATED = 0.5
_DEAD = 0.5


class Finding(NamedTuple):
    """Something that a person should know about a layer."""

    kind: str
    """vanishing, exploding, saturated or dead."""
    layer: int
    text: str


def layer_records(network: Network, means: Means, x: Any) -> list[dict[str, float]]:
    """Return for each layer what metrics.jsonl tells of it; saturated and dead units are counted on the rows ``x``."""
    layers: list[dict[str, float]] = []
    for gradient, update, share in zip(means.gradient_norms, means.update_ratios, shares(network, x), strict=True):
        layers.append({"gradient_norm": gradient, "update_ratio": update, **share})
    return layers


class Health:
    """Watches a run for findings, epoch by epoch."""

    def __init__(self, told: Mapping[str, Any] | None = None) -> None:
        """Begin with a run, or with what :meth:`to_json` told before a break."""
        told = told or {}
        self._cost: float | None = told.get("cost")
        self._norms: Sequence[float] = told.get("norms", ())

    def to_json(self) -> dict[str, Any]:
        """Return what must be known of the run's begin, as JSON's types."""
        return {"cost": self._cost, "norms": list(self._norms)}

    def begin(self, structure: Structure, weights: Array) -> None:
        """Take in the initial weights."""
        self._norms = layer_norms(structure.layers(weights))

    def see(self, record: StepRecord) -> None:
        """Take in a step; the first one's cost is what later ones are compared with."""
        if self._cost is None:
            self._cost = record.cost

    def examine(self, network: Network, sums: Sums, step: int, x: Array) -> tuple[dict[str, Any], DivergedError | None]:
        """Return what an epoch's record says of layers and findings, and the error to end the run with, if any."""
        layers = layer_records(network, sums.means, x)
        found = findings(network.structure, layers)
        error = self._exploded(network, sums.mean_cost, step)
        if error is not None:
            found.insert(0, Finding("exploding", error.layer, str(error)))
        told = [finding._asdict() for finding in found]
        return {"noise_scale": sums.means.noise_scale, "layers": layers, "findings": told}, error

    def _exploded(self, network: Network, cost: float, step: int) -> DivergedError | None:
        """Return an error if the descent has blown a layer up, and the total cost with it."""
        if self._cost is None or not self._norms or cost < self._cost:
            return None
        norms = layer_norms(network.structure.layers(network.weights))
        growth = [norm / before if before else 1.0 for norm, before in zip(norms, self._norms, strict=True)]
        worst = max(growth)
        if worst <= _EXPLODING:
            return None
        layer = growth.index(worst) + 1
        return DivergedError("a weight", step, layer, (
            f"the weights of step {step} are {worst:,.3g} times as long as at the start in layer {layer}, and the "
            f"total cost went from {self._cost:.4g} to {cost:.4g}: exploding. Try a lower --lr, or --clip-norm"
        ))  # fmt: skip


def findings(structure: Structure, layers: Sequence[Mapping[str, float]]) -> list[Finding]:
    """Return what is wrong, from the records of the layers."""
    found = []
    counts = np.diff(structure.bounds)
    slopes = [layer["gradient_norm"] / math.sqrt(count) for layer, count in zip(layers, counts, strict=True)]
    for l, (layer, activation) in enumerate(zip(layers, structure.activations, strict=True), start=1):
        name, is_hidden = name_of(activation), l < structure.depth
        saturated, dead = layer.get("saturated", 0.0), layer.get("dead", 0.0)
        if is_hidden and slopes[-1] > 0 and slopes[l - 1] < VANISHING * slopes[-1]:
            share = f"{100 * saturated:.0f} % of {name} units saturated, " if saturated else ""
            cure = "relu with He initialisation" if name in ("sigmoid", "tanh") else "a higher --lr or fewer layers"
            cure += ", or cross-entropy" if structure.cost == "mse" else ""
            found.append(Finding("vanishing", l, (
                f"layer {l}: {share}its gradient is {slopes[l - 1] / slopes[-1]:.0e} of the output layer's, weight by "
                f"weight: vanishing gradient. Try {cure}"
            )))  # fmt: skip
        elif is_hidden and saturated >= _SATURATED:
            found.append(Finding("saturated", l, (
                f"layer {l}: {100 * saturated:.0f} % of {name} units saturated, so they learn slowly. Try smaller "
                "initial weights, inputs scaled to about -1..1, or relu"
            )))  # fmt: skip
        if is_hidden and dead >= _DEAD:
            found.append(Finding("dead", l, (
                f"layer {l}: {100 * dead:.0f} % of {name} units are 0 for every row that was tried, so they learn "
                "nothing any more. Try a lower --lr, or leaky-relu"
            )))  # fmt: skip
        if layer["update_ratio"] > LARGE_UPDATE:
            found.append(Finding("exploding", l, (
                f"layer {l}: a step changes it by {100 * layer['update_ratio']:,.0f} % of its weights: exploding. "
                "Try a lower --lr, or --clip-norm"
            )))  # fmt: skip
    return found
