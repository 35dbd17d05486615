"""Values per epoch: costs and scores, each layer's gradient and update, and health findings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from distbp.report.json_values import column, mapping, number, text, thinned
from distbp.report.run_files import Run

_NAMES = (
    *("train_cost", "validation_cost", "test_cost"),
    *("train_accuracy", "validation_accuracy", "test_accuracy"),
    *("validation_rmse", "test_rmse"),
    *("validation_r2", "test_r2"),
    *("samples_per_second", "lr"),
)
_MOST_LAYERS = 16
_MOST_FINDINGS = 40


def curves_of(run: Run, most: int) -> dict[str, Any]:
    """Return the values of at most ``most`` epochs, by name."""
    some = [run.epochs[k] for k in thinned(len(run.epochs), most)]
    curves: dict[str, Any] = {"epoch": column(some, "epoch"), "epochs": len(run.epochs)}
    for name in _NAMES:
        values = column(some, name)
        if any(value is not None for value in values):
            curves[name] = values
    return curves


def layers_of(run: Run, most: int) -> dict[str, Any] | None:
    """Return each layer's gradient norm, its gradient relative to the output layer's, and its update ratio.

    The relative gradient compares root mean squares per weight, as the findings do. Zeros are left out, since the axes
    are logarithmic.
    """
    records = [record for record in run.epochs if isinstance(record.get("layers"), list) and record["layers"]]
    if not records:
        return None
    some = [records[k] for k in thinned(len(records), most)]
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
        updates = [_positive(_layer(record, l).get("update_ratio")) for record in some]
        each.append({"name": _name(l, run), "gradient": norms, "relative": relative, "update": updates})
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
    finite = number(value)
    return finite if finite is not None and finite > 0 else None


def findings_of(run: Run) -> list[dict[str, Any]]:
    """Return each kind of finding once per layer, with its latest text, its first and its last epoch."""
    by_layer: dict[tuple[str, str], dict[str, Any]] = {}
    for record in run.epochs:
        findings = record.get("findings")
        for each in findings if isinstance(findings, list) else ():
            finding = mapping(each)
            key = text(finding.get("kind", "")), text(finding.get("layer", ""))
            epoch = number(record.get("epoch"))
            first = by_layer[key]["first"] if key in by_layer else epoch
            by_layer[key] = {"kind": key[0], "text": text(finding.get("text", "")), "first": first, "last": epoch}
    return sorted(by_layer.values(), key=lambda finding: -(finding["last"] or 0))[:_MOST_FINDINGS]


def best_of(run: Run, name: str, pick: Any) -> tuple[float, float] | None:
    """Return the best value over all epochs, as chosen by ``pick`` (min or max), and its epoch."""
    pairs: Sequence[tuple[float | None, float | None]] = [
        (number(record.get(name)), number(record.get("epoch"))) for record in run.epochs
    ]
    known = [(value, epoch) for value, epoch in pairs if value is not None and epoch is not None]
    best: tuple[float, float] | None = pick(known, default=None, key=lambda pair: pair[0])
    return best
