"""What the epochs' records say over time: costs and scores, and each layer's gradient and update."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from distbp.report.json_values import column, mapping, number, text, thinned
from distbp.report.run_files import Run

_NAMES = (
    "train_cost", "validation_cost", "test_cost", "train_accuracy", "validation_accuracy", "test_accuracy",
    "validation_rmse", "test_rmse", "validation_r2", "test_r2", "samples_per_second", "lr",
)  # fmt: skip
_MOST_LAYERS = 16
_MOST_FINDINGS = 40


def curves_of(run: Run, most: int) -> dict[str, Any]:
    """Return the numbers of at most so many epochs, by name."""
    some = [run.epochs[place] for place in thinned(len(run.epochs), most)]
    found: dict[str, Any] = {"epoch": column(some, "epoch"), "epochs": len(run.epochs)}
    for name in _NAMES:
        values = column(some, name)
        if any(value is not None for value in values):
            found[name] = values
    return found


def layers_of(run: Run, most: int) -> dict[str, Any] | None:
    """Return of each layer the gradient's norm, the gradient as a share of the output layer's, and the update ratio.

    The share is that of single weights, as the findings compare them: norms over the root of the layers' sizes. Zeros
    are left out, since the axes are logarithmic.
    """
    told = [record for record in run.epochs if isinstance(record.get("layers"), list) and record["layers"]]
    if not told:
        return None
    some = [told[place] for place in thinned(len(told), most)]
    depth = max(len(record["layers"]) for record in some)
    counts = [(one + 1) * other for one, other in pairwise(run.sizes)]
    if len(counts) != depth:
        counts = []
    shown = thinned(depth, _MOST_LAYERS)
    last = [_norm(record, depth - 1) for record in some]
    each = []
    for l in shown:
        norms = [_norm(record, l) for record in some]
        relative: list[float | None] = []
        if counts and l < depth - 1:
            scale = math.sqrt(counts[-1] / counts[l])
            pairs = zip(norms, last, strict=True)
            relative = [number(scale * one / other) if one and other else None for one, other in pairs]
        each.append({
            "name": _name(l, run), "gradient": norms, "relative": relative,
            "update": [_positive(_layer(record, l).get("update_ratio")) for record in some],
        })  # fmt: skip
    return {"epoch": column(some, "epoch"), "each": each, "depth": depth}


def _name(l: int, run: Run) -> str:
    sizes = run.sizes
    return f"layer {l + 1} ({sizes[l]}→{sizes[l + 1]})" if l + 1 < len(sizes) else f"layer {l + 1}"


def _layer(record: Mapping[str, Any], l: int) -> Mapping[str, Any]:
    layers = record["layers"]
    return mapping(layers[l]) if l < len(layers) else {}


def _norm(record: Mapping[str, Any], l: int) -> float | None:
    return _positive(_layer(record, l).get("gradient_norm"))


def _positive(value: Any) -> float | None:
    found = number(value)
    return found if found is not None and found > 0 else None


def findings_of(run: Run) -> list[dict[str, Any]]:
    """Return what was found, each kind and layer once, as it was said last, with the epochs between which it was so."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for record in run.epochs:
        findings = record.get("findings")
        for told in findings if isinstance(findings, list) else ():
            finding = mapping(told)
            key = text(finding.get("kind", "")), text(finding.get("layer", ""))
            epoch = number(record.get("epoch"))
            first = found[key]["first"] if key in found else epoch
            found[key] = {
                "kind": key[0], "text": text(finding.get("text", "")), "first": first, "last": epoch,
            }  # fmt: skip
    return sorted(found.values(), key=lambda finding: -(finding["last"] or 0))[:_MOST_FINDINGS]


def best_of(run: Run, name: str, pick: Any) -> tuple[float, float] | None:
    """Return the best value of a name over all epochs, and its epoch."""
    pairs: Sequence[tuple[float | None, float | None]] = [
        (number(record.get(name)), number(record.get("epoch"))) for record in run.epochs
    ]
    known = [(value, epoch) for value, epoch in pairs if value is not None and epoch is not None]
    best: tuple[float, float] | None = pick(known, default=None, key=lambda pair: pair[0])
    return best
