"""predict, evaluate, ONNX and an export for PyTorch give the same answers on difficult tables."""

import json
from itertools import pairwise

import numpy as np
import pandas
import pytest
from safetensors import safe_open
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)

from distbp.cli import run

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

CLASSES = {"two": ("no", "yes"), "three": ("a", "b", "c"), "flags": (False, True), "numbers": (3, 7)}


def table(rng, rows, target):
    frame = pandas.DataFrame(
        {
            "number": rng.normal(50, 5, rows),
            "town": rng.choice(["Ulm", "Bonn", "Kiel"], rows),
            "same": 1.5,
            "flag": rng.random(rows) < 0.4,
        }
    )
    frame.loc[rng.random(rows) < 0.1, "number"] = np.nan
    frame.loc[rng.random(rows) < 0.1, "town"] = None
    signal = frame["number"].fillna(50) - 50 + 4 * (frame["town"] == "Ulm") + rng.normal(size=rows)
    if target in CLASSES:
        names = np.array(CLASSES[target])
        frame["y"] = names[np.digitize(signal, np.quantile(signal, np.arange(1, len(names)) / len(names)))]
    else:
        frame["y"] = 0.1 if target == "constant" else 1000 + 10 * signal
    return frame


def odd_rows(rng, target, is_constant):
    """Return rows with new towns and numbers, optionally with a constant target."""
    new = table(rng, 70, target)
    new.loc[::5, "town"] = "Rome"
    new.loc[::7, "number"] = 75
    new.loc[::11, "number"] = 25
    if is_constant:
        new["y"] = new["y"].iloc[-1]
    return new[["flag", "y", "town", "same", "number"]]


def by_onnx(path, rows):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = {}
    for wanted in session.get_inputs():
        is_text = wanted.type == "tensor(string)"
        cells = rows[wanted.name].fillna("").astype(str) if is_text else rows[wanted.name]
        inputs[wanted.name] = cells.to_numpy(object if is_text else np.float64).reshape(-1, 1)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def inputs_of(row, columns):
    """Compute the network's inputs for a row, number by number, from the columns in its file."""
    scaled, marks, pieces, hot = [], [], [], []
    for column in columns:
        value = row[column["name"]]
        if column["kind"] == "category" and column["kept"]:
            known = [float(value == name) for name in column["kept"]]
            hot += [*known, float(not any(known))]
        for number in column["numbers"]:
            if not number["is_used"]:
                continue
            is_missing = np.isnan(float(value))
            cell = number["median"] if is_missing else float(value)
            scaled.append((cell - number["mean"]) / number["deviation"])
            marks += [float(is_missing)] if number["missing"] else []
            for low, high in pairwise(number["knots"]):
                pieces.append(min(1.0, max(-1.0, (2 * cell - low - high) / (high - low))))
    return [*scaled, *marks, *pieces, *hot]


def by_state_dict(path, rows):
    """Return the last z in float64, from the file for PyTorch, and the target's mean and deviation."""
    with safe_open(path, "numpy") as file:
        told = json.loads(file.metadata()["distbp"])
        tensors = {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}  # noqa: SIM118
    x = np.array([inputs_of(row, told["preprocessing"]["columns"]) for _, row in rows.iterrows()])
    for l in range(len(tensors) // 2):
        x = np.maximum(x, 0) if l else x
        x = x @ tensors[f"{2 * l}.weight"].T + tensors[f"{2 * l}.bias"]
    target = told["preprocessing"]["target"]
    return x, target["mean"], target["deviation"]


def trained(folder, rng, target, *more):
    """Train on a table and export the network in both formats."""
    table(rng, 400, target).to_csv(folder / "t.csv", index=False)
    arguments = ["--target", "y", "--workers", "0", "--epochs", "3", "--hidden", "8", "--lr", "0.01", *more]
    assert run(["train", str(folder / "t.csv"), *arguments, "--run-dir", str(folder / "run")], 0.0) == 0
    forms = ["--onnx", str(folder / "a.onnx"), "--torch", str(folder / "a.torch")]
    assert run(["export", str(folder / "run"), *forms], 0.0) == 0


def answers(folder, rows, capsys):
    """Return the output of predict and evaluate for the rows."""
    rows.to_csv(folder / "new.csv", index=False)
    out = str(folder / "out.parquet")
    assert run(["predict", str(folder / "run"), str(folder / "new.csv"), "-o", out], 0.0) == 0
    capsys.readouterr()
    assert run(["evaluate", str(folder / "run"), str(folder / "new.csv"), "--json"], 0.0) == 0
    return pandas.read_parquet(out), json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("of_one_class", [False, True])
@pytest.mark.parametrize(
    ("target", "cost"),
    [
        ("two", "cross-entropy"),
        ("two", "binary-cross-entropy"),
        ("three", "cross-entropy"),
        ("flags", "binary-cross-entropy"),
        ("numbers", "cross-entropy"),
    ],
)
def test_classes_are_the_same_everywhere(target, cost, of_one_class, rng, tmp_path, capsys):
    trained(tmp_path, rng, target, "--cost", cost)
    rows = odd_rows(rng, target, of_one_class)
    predicted, scores = answers(tmp_path, rows, capsys)
    names = list(CLASSES[target])
    shares = predicted[[f"probability_{name}" for name in names]].to_numpy(np.float64)
    z, _, _ = by_state_dict(tmp_path / "a.torch", rows)
    if z.shape[1] == 1:
        z = np.hstack([0 * z, z])
    expected = np.exp(z - z.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    assert shares == pytest.approx(expected, abs=1e-5)
    found = by_onnx(tmp_path / "a.onnx", rows)
    assert found["probabilities"] == pytest.approx(expected, abs=1e-5)
    decided = np.abs(expected.max(axis=1) - np.sort(expected, axis=1)[:, -2]) > 1e-4
    assert decided.mean() > 0.9
    chosen = np.array(names)[expected.argmax(axis=1)]
    assert (predicted["class"].to_numpy()[decided] == chosen[decided]).all()
    assert (found["label"].astype(np.array(names).dtype)[decided] == chosen[decided]).all()
    y = rows["y"].to_numpy()
    assert scores["rows"] == len(rows)
    assert scores["accuracy"] == accuracy_score(y, predicted["class"])
    assert scores["confusion"] == confusion_matrix(y, predicted["class"], labels=names).tolist()
    assert scores["log_loss"] == pytest.approx(log_loss(y, expected, labels=names), rel=1e-4)
    assert scores["cost"] == pytest.approx(scores["log_loss"], rel=1e-4)
    assert (scores["roc_auc"] is None) == of_one_class
    assert [recall is None for recall in scores["recall"]] == [name not in set(y) for name in names]


@pytest.mark.parametrize("of_one_value", [False, True])
@pytest.mark.parametrize("target", ["values", "constant"])
def test_values_are_the_same_everywhere(target, of_one_value, rng, tmp_path, capsys):
    trained(tmp_path, rng, target, "--task", "regression")
    rows = odd_rows(rng, target, of_one_value)
    predicted, scores = answers(tmp_path, rows, capsys)
    values = predicted["value"].to_numpy()
    z, mean, deviation = by_state_dict(tmp_path / "a.torch", rows)
    expected = z[:, 0] * deviation + mean
    assert values == pytest.approx(expected, rel=1e-5, abs=1e-4)
    assert by_onnx(tmp_path / "a.onnx", rows)["values"][:, 0] == pytest.approx(expected, rel=1e-5, abs=1e-4)
    y = rows["y"].to_numpy()
    assert scores["rmse"] == pytest.approx(np.sqrt(mean_squared_error(y, values)), rel=1e-5)
    assert scores["mae"] == pytest.approx(mean_absolute_error(y, values), rel=1e-5)
    assert scores["cost"] == pytest.approx((scores["rmse"] / deviation) ** 2, rel=1e-4)
    varies = target == "values" and not of_one_value
    assert scores["r2"] == pytest.approx(r2_score(y, values) if varies else 0.0, rel=1e-4)
