"""What a run's network says of its test rows: which classes it confuses, its worst mistakes, values it should give."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distbp.data.dataset import PIXEL_FACTOR, Array, DataSet, Rows
from distbp.data.fingerprint import data_fingerprint
from distbp.data.formats.images import image_files, image_shape
from distbp.data.loading import load_as
from distbp.data.prepared.reader import is_prepared
from distbp.data.reading import Reading
from distbp.data.sizes import is_large
from distbp.data.sources import BUILT_IN
from distbp.errors import DistbpError, RunError
from distbp.model.network import Network
from distbp.report.json_values import number, text, thinned
from distbp.runs.saved import config_of, is_finished, read_saved

_MOST_ROWS = 100_000
_MOST_NUMBERS = 20_000_000
"""Outputs that are held at a time: rows times classes."""
_MOST_CLASSES = 30
"""Up to which the confusion matrix is shown whole."""
_MOST_PAIRS = 20
_MOST_POINTS = 800
_LARGEST_SIDE = 64
"""Pixels of a picture's side; larger ones are shown coarser."""


class Evaluator:
    """Asks the networks of runs; data are read once."""

    def __init__(self, most_mistakes: int) -> None:
        self._most_mistakes = most_mistakes
        self._data: dict[str, DataSet] = {}

    def evaluate(self, path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answers for a run, or under ``missing`` why there are none."""
        sources = settings.get("data")
        if not isinstance(sources, list) or not sources or not all(isinstance(each, str) for each in sources):
            return {"missing": "config.json does not say where the data are."}
        if "arrays" in sources:
            return {"missing": "The data were arrays of the program that made this run, so they cannot be read again."}
        gone = [source for source in sources if source not in BUILT_IN and not Path(source).exists()]
        if gone:
            return {"missing": f"{gone[0]} is no longer there, so the network cannot be tried on it."}
        if is_large(sources) and not all(is_prepared(Path(source)) for source in sources):
            return {"missing": "The data are too large to be read again for a report: distbp evaluate does it."}
        try:
            data = self._load(sources, settings)
            network = _network(path, data)
            told = _told(network, data, sources, self._most_mistakes)
        except (DistbpError, ImportError, OSError, ValueError, KeyError, TypeError, MemoryError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            return {"missing": f"The network could not be tried on its test rows: {said}"}
        if data_fingerprint(data) != settings.get("data_sha256"):
            told["note"] = "The data are no longer those of the run, so this may not be what it saw."
        return told

    def _load(self, sources: Sequence[str], settings: Mapping[str, Any]) -> DataSet:
        reading = Reading.of(config_of(settings))
        key = repr((sources, reading))
        if key not in self._data:
            self._data[key] = load_as(sources, reading)
        return self._data[key]


def _network(path: Path, data: DataSet) -> Network:
    """Return the network as the run left it, or as its newest checkpoint has it.

    Raises:
        RunError: there is none, or it is not for these data.
    """
    if is_finished(path):
        network = Network.load(path)
    else:
        past = read_saved(path, lambda note: None).network()
        factor = data.train.factor if data.train.x.dtype == np.uint8 else PIXEL_FACTOR
        network = Network.of(past.structure, past.weights, data.classes, factor, data.preprocessing)
    if network.structure.sizes[0] != data.features or len(network.classes) != len(data.classes):
        raise RunError("the data have other columns or classes than it was trained on")
    return network


def _told(network: Network, data: DataSet, sources: Sequence[str], most_mistakes: int) -> dict[str, Any]:
    rows = data.test[: max(1, min(_MOST_ROWS, _MOST_NUMBERS // network.structure.sizes[-1]))]
    with np.errstate(over="ignore", invalid="ignore"):
        answers = network.answers(rows.x)
        told: dict[str, Any] = {"rows": len(rows), "of": len(data.test)}
        if network.classes:
            shape = _picture_shape(data, sources)
            names = [text(name) for name in network.classes]
            probabilities = np.nan_to_num(answers.probabilities)
            return told | _classes(names, rows, answers.chosen, probabilities, shape, most_mistakes)
        y, given = (np.asarray(network.in_own_unit(each), np.float64) for each in (rows.y, answers.outputs))
        return told | _values(y[:, 0], np.nan_to_num(given[:, 0]), y.shape[1], most_mistakes)


def _classes(
    names: Sequence[str],
    rows: Rows,
    chosen: Array,
    probabilities: Array,
    shape: tuple[int, ...] | None,
    most_mistakes: int,
) -> dict[str, Any]:
    y, count = rows.y, len(names)
    pairs, counts = np.unique(y * count + chosen, return_counts=True)
    told: dict[str, Any] = {"right": int((y == chosen).sum()), "class_count": count}
    if count <= _MOST_CLASSES:
        matrix = np.zeros(count * count, np.int64)
        matrix[pairs] = counts
        told |= {"classes": list(names), "confusion": matrix.reshape(count, count).tolist()}
    wrong = [(int(number_), int(pair)) for number_, pair in zip(counts, pairs, strict=True) if pair % (count + 1)]
    told["confused"] = [
        [names[pair // count], names[pair % count], number_]
        for number_, pair in sorted(wrong, reverse=True)[:_MOST_PAIRS]
    ]
    of_true = probabilities[np.arange(len(y)), y]
    places = np.flatnonzero(y != chosen)
    worst = places[np.argsort(of_true[places], kind="stable")][:most_mistakes]
    told["mistakes"] = [
        {
            "row": int(place),
            "true": names[y[place]],
            "said": names[chosen[place]],
            "sure": number(probabilities[place, chosen[place]].item()),
            **({} if shape is None else {"picture": _picture(rows.x[place], shape, rows.factor)}),
        }
        for place in worst
    ]
    return told


def _values(y: Array, given: Array, outputs: int, most_mistakes: int) -> dict[str, Any]:
    some = thinned(len(y), _MOST_POINTS)
    order = np.argsort(y[some], kind="stable")
    points = [[number(y[some][place].item()), number(given[some][place].item())] for place in order]
    worst = np.argsort(-np.abs(given - y), kind="stable")[:most_mistakes]
    return {
        "values": outputs,
        "points": points,
        "mistakes": [
            {"row": int(place), "true": number(y[place].item()), "said": number(given[place].item())} for place in worst
        ],
    }


def _picture_shape(data: DataSet, sources: Sequence[str]) -> tuple[int, ...] | None:
    """Return height, width and, for colours, 3, where the rows are pictures; None where they are not known to be."""
    x = data.test.x
    if getattr(x, "dtype", None) != np.uint8 or x.ndim != 2:
        return None
    columns = x.shape[1]
    folder = Path(sources[0])
    if sources[0] not in BUILT_IN and folder.is_dir():
        for place in (folder, folder / "train"):
            files = image_files(place)
            if files:
                shape = image_shape(files[0])
                return shape if math.prod(shape) == columns else None
    for depth in (1, 3):
        side = math.isqrt(columns // depth)
        if side >= 4 and side * side * depth == columns:
            return (side, side) if depth == 1 else (side, side, 3)
    return None


def _picture(row: Array, shape: tuple[int, ...], factor: float) -> dict[str, Any]:
    """Return height, width and the bytes of a picture, gray or red, green and blue."""
    pixels = np.asarray(row).reshape(shape)
    coarser = max(1, -(-max(shape[:2]) // _LARGEST_SIDE))
    pixels = pixels[::coarser, ::coarser]
    bright = np.clip(np.round(pixels * (255 * factor)), 0, 255).astype(np.uint8)
    told = base64.b64encode(np.ascontiguousarray(bright).tobytes()).decode()
    return {"height": bright.shape[0], "width": bright.shape[1], "bytes": told}
