"""ONNX graphs of networks that were trained on tables: from raw columns to the predictions that are ours."""

import csv

import numpy as np
import pytest

import distbp
from distbp.errors import DataError, UsageError

onnxruntime = pytest.importorskip("onnxruntime")
pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


def by_runtime(path, frame, network):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    kinds = {"tensor(double)": np.float64, "tensor(string)": object}
    inputs = {}
    for wanted in session.get_inputs():
        cells = frame[wanted.name]
        if wanted.type == "tensor(string)":
            cells = cells.fillna("").astype(str)
        inputs[wanted.name] = cells.to_numpy(kinds[wanted.type]).reshape(-1, 1)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adult_from_raw_columns(data_folder, tmp_path, dtype):
    names = [f"column {k}" for k in range(14)]
    parts = []
    for name in ("adult.data", "adult.test"):
        with (data_folder / "adult" / name).open() as file:
            rows = [row for row in csv.reader(file, skipinitialspace=True) if len(row) == 15]
        frame = pandas.DataFrame([row[:14] for row in rows], columns=names)
        for k in (0, 2, 4, 10, 11, 12):
            frame[f"column {k}"] = frame[f"column {k}"].astype(float)
        frame["target"] = [row[14].rstrip(".") for row in rows]
        parts.append(frame.replace("?", None))
    result = distbp.train(parts[0], target="target", workers=0, epochs=2, hidden=(16,), dtype=dtype)
    network, test = result.network, parts[1].drop(columns="target")
    distbp.to_onnx(network, tmp_path / "a.onnx")
    found = by_runtime(tmp_path / "a.onnx", test, network)
    expected = network.probabilities(test)
    assert found["probabilities"] == pytest.approx(expected, abs=1e-6)
    decided = np.abs(expected[:, 1] - 0.5) > 1e-6
    assert (found["label"] == network.predict(test))[decided].all()
    assert (found["label"] == parts[1]["target"]).mean() > 0.84


@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 1e-6), ("float64", 1e-12)])
def test_california_housing_in_dollars(data_folder, tmp_path, dtype, rounding):
    frame = pandas.read_csv(data_folder / "california-housing" / "housing.csv")
    result = distbp.train(frame, target="median_house_value", workers=0, epochs=2, hidden=(16,), dtype=dtype)
    distbp.to_onnx(result.network, tmp_path / "a.onnx")
    found = by_runtime(tmp_path / "a.onnx", frame, result.network)["values"]
    expected = result.network.predict(frame)
    deviation = result.network.preprocessing.target.deviation
    # Of the value, since these are up to 5, or of 1: whose kernels add in which order changes float32's last bits.
    assert found / deviation == pytest.approx(expected / deviation, rel=rounding, abs=rounding)
    assert frame["total_bedrooms"].isna().sum() == 207  # missing ones are among them
    again = tmp_path / "network.safetensors"
    distbp.to_safetensors(result.network, again)
    assert (distbp.from_safetensors(again).predict(frame) == expected).all()


def test_dates_are_refused(tmp_path):
    days = pandas.date_range("2024-01-01", periods=200)
    frame = pandas.DataFrame({"day": days, "n": np.arange(200.0), "target": ["a", "b"] * 100})
    result = distbp.train(frame, target="target", workers=0, epochs=1, hidden=(4,))
    with pytest.raises(UsageError, match="column 'day' holds dates"):
        distbp.to_onnx(result.network, tmp_path / "a.onnx")


def test_columns_that_never_vary_are_left_out(tmp_path):
    frame = pandas.DataFrame(
        {"same": ["x"] * 200, "one": np.ones(200), "n": np.arange(200.0), "target": ["a", "b"] * 100}
    )
    network = distbp.train(frame, target="target", workers=0, epochs=1, hidden=(4,)).network
    distbp.to_onnx(network, tmp_path / "a.onnx")
    found = by_runtime(tmp_path / "a.onnx", frame, network)
    assert found["probabilities"] == pytest.approx(network.probabilities(frame.drop(columns="target")), abs=1e-6)
    with pytest.raises(DataError, match="no column varies from row to row: there is nothing to learn from"):
        distbp.train(frame[["same", "one", "target"]], target="target", workers=0, epochs=1)  # no such graph
