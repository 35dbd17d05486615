"""Evaluation of a run's network on its test rows: confusion matrix, worst mistakes, predicted against true values."""

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
_MOST_OUTPUTS = 20_000_000
"""Limit of rows times outputs, which bounds the memory of the evaluation."""
_MOST_CLASSES = 30
"""With more classes, the page shows the most frequent confusions instead of the whole matrix."""
_MOST_CONFUSIONS = 20
_MOST_POINTS = 800
_LARGEST_SIDE = 64
"""Largest width and height of an image in pixels; larger images are subsampled."""


class Evaluator:
    """Evaluates the networks of several runs, and loads each data set once."""

    def __init__(self, most_mistakes: int) -> None:
        self._most_mistakes = most_mistakes
        self._data: dict[str, DataSet] = {}

    def evaluate(self, path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the evaluation of a run, or the reason under ``missing`` if there is none."""
        sources = settings.get("data")
        if not isinstance(sources, list) or not sources or not all(isinstance(each, str) for each in sources):
            return {"missing": "config.json does not contain the paths of the data."}
        if "arrays" in sources:
            return {"missing": "The data were arrays of a Python program, so the report cannot load them."}
        gone = [source for source in sources if source not in BUILT_IN and not Path(source).exists()]
        if gone:
            return {"missing": f"{gone[0]} no longer exists, so the network cannot be evaluated."}
        if is_large(sources) and not all(is_prepared(Path(source)) for source in sources):
            return {"missing": "The data are too large for a report: use distbp evaluate."}
        try:
            data = self._load(sources, settings)
            network = _network(path, data)
            evaluation = _evaluation(network, data, sources, self._most_mistakes)
        except (DistbpError, ImportError, OSError, ValueError, KeyError, TypeError, MemoryError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            return {"missing": f"The network could not be evaluated on its test rows: {reason}"}
        if data_fingerprint(data) != settings.get("data_sha256"):
            evaluation["note"] = "The data have changed since the run, so these results may differ from the run's own."
        return evaluation

    def _load(self, sources: Sequence[str], settings: Mapping[str, Any]) -> DataSet:
        reading = Reading.of(config_of(settings))
        key = repr((sources, reading))
        if key not in self._data:
            self._data[key] = load_as(sources, reading)
        return self._data[key]


def _network(path: Path, data: DataSet) -> Network:
    """Return the run's final network, or that of its newest checkpoint.

    Raises:
        RunError: there is no network, or it does not fit the data.
    """
    if is_finished(path):
        network = Network.load(path)
    else:
        saved = read_saved(path, lambda note: None).network()
        factor = data.train.factor if data.train.x.dtype == np.uint8 else PIXEL_FACTOR
        network = Network.of(saved.structure, saved.weights, data.classes, factor, data.preprocessing)
    if network.structure.sizes[0] != data.features or len(network.classes) != len(data.classes):
        raise RunError("the network was trained on other columns or classes than the data have")
    return network


def _evaluation(network: Network, data: DataSet, sources: Sequence[str], most_mistakes: int) -> dict[str, Any]:
    rows = data.test[: max(1, min(_MOST_ROWS, _MOST_OUTPUTS // network.structure.sizes[-1]))]
    with np.errstate(over="ignore", invalid="ignore"):
        answers = network.answers(rows.x)
        counts = {"rows": len(rows), "test_rows": len(data.test)}
        if network.classes:
            shape = _image_shape(data, sources)
            names = [text(name) for name in network.classes]
            probabilities = np.nan_to_num(answers.probabilities)
            return counts | _class_evaluation(names, rows, answers.chosen, probabilities, shape, most_mistakes)
        y, predicted = (np.asarray(network.in_own_unit(each), np.float64) for each in (rows.y, answers.outputs))
        return counts | _value_evaluation(y[:, 0], np.nan_to_num(predicted[:, 0]), y.shape[1], most_mistakes)


def _class_evaluation(
    names: Sequence[str],
    rows: Rows,
    chosen: Array,
    probabilities: Array,
    shape: tuple[int, ...] | None,
    most_mistakes: int,
) -> dict[str, Any]:
    y, classes = rows.y, len(names)
    cells, counts = np.unique(y * classes + chosen, return_counts=True)  # cells of the confusion matrix
    evaluation: dict[str, Any] = {"correct": int((y == chosen).sum()), "class_count": classes}
    if classes <= _MOST_CLASSES:
        matrix = np.zeros(classes * classes, np.int64)
        matrix[cells] = counts
        evaluation |= {"classes": list(names), "confusion": matrix.reshape(classes, classes).tolist()}
    confusions = [  # the cells beside the diagonal
        (int(count), int(cell)) for count, cell in zip(counts, cells, strict=True) if cell % (classes + 1)
    ]
    evaluation["confusions"] = [
        [names[cell // classes], names[cell % classes], count]
        for count, cell in sorted(confusions, reverse=True)[:_MOST_CONFUSIONS]
    ]
    true_probability = probabilities[np.arange(len(y)), y]
    wrong = np.flatnonzero(y != chosen)
    worst = wrong[np.argsort(true_probability[wrong], kind="stable")][:most_mistakes]
    evaluation["mistakes"] = [
        {
            "row": int(row),
            "true": names[y[row]],
            "predicted": names[chosen[row]],
            "probability": number(probabilities[row, chosen[row]].item()),
            **({} if shape is None else {"image": _image(rows.x[row], shape, rows.factor)}),
        }
        for row in worst
    ]
    return evaluation


def _value_evaluation(y: Array, predicted: Array, outputs: int, most_mistakes: int) -> dict[str, Any]:
    some = thinned(len(y), _MOST_POINTS)
    order = np.argsort(y[some], kind="stable")
    points = [[number(y[some][k].item()), number(predicted[some][k].item())] for k in order]
    worst = np.argsort(-np.abs(predicted - y), kind="stable")[:most_mistakes]
    return {
        "values": outputs,
        "points": points,
        "mistakes": [
            {"row": int(row), "true": number(y[row].item()), "predicted": number(predicted[row].item())}
            for row in worst
        ],
    }


def _image_shape(data: DataSet, sources: Sequence[str]) -> tuple[int, ...] | None:
    """Return (height, width) or (height, width, 3) if the rows are images, else None.

    The shape comes from a folder's image files, or else is a square if the number of columns allows one.
    """
    x = data.test.x
    if getattr(x, "dtype", None) != np.uint8 or x.ndim != 2:
        return None
    columns = x.shape[1]
    folder = Path(sources[0])
    if sources[0] not in BUILT_IN and folder.is_dir():
        for subfolder in (folder, folder / "train"):
            files = image_files(subfolder)
            if files:
                shape = image_shape(files[0])
                return shape if math.prod(shape) == columns else None
    for depth in (1, 3):
        side = math.isqrt(columns // depth)
        if side >= 4 and side * side * depth == columns:
            return (side, side) if depth == 1 else (side, side, 3)
    return None


def _image(row: Array, shape: tuple[int, ...], factor: float) -> dict[str, Any]:
    """Return an image as height, width and the base64 of its 8-bit gray or RGB pixels."""
    pixels = np.asarray(row).reshape(shape)
    stride = max(1, -(-max(shape[:2]) // _LARGEST_SIDE))
    pixels = pixels[::stride, ::stride]
    bright = np.clip(np.round(pixels * (255 * factor)), 0, 255).astype(np.uint8)
    encoded = base64.b64encode(np.ascontiguousarray(bright).tobytes()).decode()
    return {"height": bright.shape[0], "width": bright.shape[1], "bytes": encoded}
