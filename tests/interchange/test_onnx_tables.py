"""ONNX graphs of networks trained on tables give distbp's predictions from raw columns."""

import csv
import datetime

import numpy as np
import pytest

import distbp
from distbp.data.columns.column import DATE_PARTS
from distbp.errors import DataError, UsageError
from distbp.interchange.onnx_dates import MISSING, date_parts
from distbp.interchange.onnx_graph import Graph

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
def test_california_housing_from_raw_columns_in_dollars(data_folder, tmp_path, dtype, rounding):
    frame = pandas.read_csv(data_folder / "california-housing" / "housing.csv")
    result = distbp.train(frame, target="median_house_value", workers=0, epochs=2, hidden=(16,), dtype=dtype)
    distbp.to_onnx(result.network, tmp_path / "a.onnx")
    found = by_runtime(tmp_path / "a.onnx", frame, result.network)["values"]
    expected = result.network.predict(frame)
    deviation = result.network.preprocessing.target.deviation
    # Relative to the value (up to 5) or to 1: the order of additions in a kernel changes float32's last bits.
    assert found / deviation == pytest.approx(expected / deviation, rel=rounding, abs=rounding)
    assert frame["total_bedrooms"].isna().sum() == 207  # missing values are included
    again = tmp_path / "network.safetensors"
    distbp.to_safetensors(result.network, again)
    assert (distbp.from_safetensors(again).predict(frame) == expected).all()


def test_parts_of_dates_agree_with_the_calendar(tmp_path, rng):
    first, last = datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59)
    edges = [first, last, datetime.datetime(1969, 12, 31, 23, 59), datetime.datetime(1970, 1, 1)]
    edges += [
        datetime.datetime(year, month, day, 12)
        for year in (4, 1600, 1900, 2000, 2023, 2024)
        for month, day in ((1, 1), (2, 28), (3, 1), (12, 31))
    ]
    edges += [datetime.datetime(year, 2, 29) for year in (4, 1600, 2000, 2024)]
    span = int((last - first).total_seconds())
    dates = edges + [first + datetime.timedelta(seconds=int(each)) for each in rng.integers(0, span, 2000)]
    seconds = np.array([round((date - datetime.datetime(1970, 1, 1)).total_seconds()) for date in dates] + [MISSING])
    graph = Graph("float32")
    for name, part in zip(DATE_PARTS, date_parts(graph, graph.input("d", np.int64, 1)), strict=True):
        graph.output(part, name, np.float64, 1)
    session = onnxruntime.InferenceSession(graph.model({}).SerializeToString(), providers=["CPUExecutionProvider"])
    found = np.column_stack(session.run(None, {"d": seconds[:, None]}))
    expected = [(date.year, date.month, date.day, date.weekday(), date.hour, date.minute) for date in dates]
    assert found[:-1].tolist() == [list(map(float, parts)) for parts in expected]
    assert np.isnan(found[-1]).all()


def test_a_table_with_dates_is_exported(tmp_path, rng):
    days = pandas.to_datetime(rng.integers(-(10**9), 2 * 10**9, 300), unit="s").to_series(index=range(300))
    days[rng.random(300) < 0.1] = pandas.NaT
    target = np.where(days.dt.month > 6, "late", "early")
    frame = pandas.DataFrame({"n": rng.normal(size=300), "day": days, "town": rng.choice(["a", "b"], 300), "y": target})
    network = distbp.train(frame, target="y", workers=0, epochs=3, hidden=(4,)).network
    distbp.to_onnx(network, tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    seconds = days.to_numpy().astype("datetime64[s]").astype(np.int64)
    inputs = {"n": frame[["n"]].to_numpy(), "day": seconds[:, None], "town": frame[["town"]].to_numpy(object)}
    label, probabilities = session.run(["label", "probabilities"], inputs)
    expected = network.probabilities(frame.drop(columns="y"))
    assert probabilities == pytest.approx(expected, abs=1e-5)
    decided = np.abs(expected[:, 1] - 0.5) > 1e-5
    assert (label == network.predict(frame.drop(columns="y")))[decided].all()


def test_columns_may_have_any_name(tmp_path, rng):
    names = ["label", "probabilities", "v0", "c0", "x"]
    frame = pandas.DataFrame(rng.normal(size=(200, 5)), columns=names)
    frame["target"] = np.where(frame["label"] > 0, "a", "b")
    network = distbp.train(frame, target="target", workers=0, epochs=1, hidden=(4,)).network
    distbp.to_onnx(network, tmp_path / "a.onnx")
    found = by_runtime(tmp_path / "a.onnx", frame, network)
    assert found["probabilities_out"] == pytest.approx(network.probabilities(frame[names]), abs=1e-6)


def test_a_column_without_a_name_is_refused(tmp_path, rng):
    frame = pandas.DataFrame({"n": rng.normal(size=200), "": rng.normal(size=200), "target": ["a", "b"] * 100})
    network = distbp.train(frame, target="target", workers=0, epochs=1, hidden=(4,)).network
    with pytest.raises(UsageError, match="feature column 1 has no name"):
        distbp.to_onnx(network, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_columns_that_never_vary_are_left_out(tmp_path):
    frame = pandas.DataFrame(
        {"same": ["x"] * 200, "one": np.ones(200), "n": np.arange(200.0), "target": ["a", "b"] * 100}
    )
    network = distbp.train(frame, target="target", workers=0, epochs=1, hidden=(4,)).network
    distbp.to_onnx(network, tmp_path / "a.onnx")
    found = by_runtime(tmp_path / "a.onnx", frame, network)
    assert found["probabilities"] == pytest.approx(network.probabilities(frame.drop(columns="target")), abs=1e-6)
    with pytest.raises(DataError, match="no column varies from row to row: there is nothing to learn from"):
        distbp.train(
            frame[["same", "one", "target"]], target="target", workers=0, epochs=1
        )  # this network has no such graph
