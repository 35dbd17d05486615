"""The commands on tables: train, evaluate, predict and prepare."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import distbp
from distbp.cli import run


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Return 70,000 rows: more than one chunk, so that predictions cross the border of two chunks."""
    rng = np.random.default_rng(0)
    x, colour = rng.normal(size=(70_000, 2)).round(4), rng.choice(["red", "green", "blue"], 70_000)
    label = np.where(x[:, 0] + (colour == "red") > 0.3, "yes", "no")
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "colour": colour, "price": 50 * x[:, 0] + 200, "label": label})


@pytest.fixture(scope="module")
def trained(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder with t.csv and the runs ``classes`` and ``values``."""
    folder = tmp_path_factory.mktemp("trained")
    frame.to_csv(folder / "t.csv", index=False)
    usual = [str(folder / "t.csv"), "--workers", "0", "--epochs", "4", "--batch-size", "512", "--hidden", "16"]
    assert run(["train", *usual, "--drop", "price", "--run-dir", str(folder / "classes")], 0.0) == 0
    values = ["--target", "price", "--drop", "label", "--run-dir", str(folder / "values")]
    assert run(["train", *usual, *values], 0.0) == 0
    return folder


def new_rows(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Write the rows with reordered columns, unseen categories, missing values and an additional column."""
    new = frame[["colour", "b", "a"]].copy()
    new.loc[::7, "colour"] = "never seen"
    new.loc[::11, "colour"] = None
    new.loc[::13, "a"] = np.nan
    new.insert(0, "extra", "x")
    new.to_csv(path, index=False)
    return new


def test_streamed_predictions_equal_those_in_memory(frame: pd.DataFrame, trained: Path, tmp_path: Path) -> None:
    new = new_rows(frame, tmp_path / "new.csv")
    for kind in ("classes", "values"):
        assert (
            run(["predict", str(trained / kind), str(tmp_path / "new.csv"), "-o", str(tmp_path / "out.parquet")], 0.0)
            == 0
        )
        out = pq.read_table(tmp_path / "out.parquet")
        network = distbp.Network.load(trained / kind)
        if kind == "classes":
            assert out["class"].to_pylist() == network.predict(new).tolist()
            streamed = np.column_stack([out["probability_no"], out["probability_yes"]])
            assert streamed.tobytes() == network.probabilities(new).tobytes()
        else:
            assert out["value"].to_numpy().tobytes() == network.predict(new)[:, 0].tobytes()
            assert abs(np.median(network.predict(new)) - 200) < 20, "values come in their own unit"


def test_csv_json_lines_and_stdout_have_the_same_content(
    frame: pd.DataFrame, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_rows(frame[:300], tmp_path / "new.csv")
    command = ["predict", str(trained / "classes"), str(tmp_path / "new.csv")]
    assert run([*command, "-o", str(tmp_path / "out.csv")], 0.0) == 0
    assert run([*command, "-o", str(tmp_path / "out.jsonl")], 0.0) == 0
    capsys.readouterr()
    assert run(command, 0.0) == 0
    text = (tmp_path / "out.csv").read_text()
    assert capsys.readouterr().out == text
    rows = list(csv.DictReader(text.splitlines()))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == len(lines) == 300
    for row, line in zip(rows, lines, strict=True):
        assert row["class"] == line["class"]
        assert float(row["probability_yes"]) == line["probability_yes"]


def test_evaluate_prints_more_scores_than_train(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["evaluate", str(trained / "classes"), str(trained / "t.csv"), "--json"], 0.0) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["rows"] == 70_000 == sum(map(sum, scores["confusion"]))
    assert scores["classes"] == ["no", "yes"]
    assert scores["accuracy"] > 0.9
    assert scores["roc_auc"] > 0.95
    assert run(["evaluate", str(trained / "values"), str(trained / "t.csv")], 0.0) == 0
    scores = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert set(scores) == {"rows", "cost", "rmse", "mae", "r2"}
    assert float(scores["rmse"]) < 15


def test_train_prints_the_columns_of_a_table(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = tmp_path / "small.data"
    small.write_text("".join((trained / "t.csv").read_text().splitlines(keepends=True)[:400]))
    settings = ["--epochs", "1", "--workers", "0", "--drop", "price", "--drop", "b", "--run-dir", str(tmp_path / "r")]
    assert run(["train", str(small), *settings], 0.0) == 0
    err = capsys.readouterr().err
    for text in (
        "comma as separator, a header",
        "a       number",
        "one-hot, 3 categories",
        "baselines: constant prediction",
    ):
        assert text in err
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert 0.4 < summary["constant_test_accuracy"] < summary["linear_test_accuracy"] <= 1
    model = json.loads((tmp_path / "r" / "model.json").read_text())
    assert [column["name"] for column in model["preprocessing"]["columns"]] == ["a", "colour"]
    assert json.loads((tmp_path / "r" / "config.json").read_text())["drop"] == ["price", "b"]


def test_an_interrupted_run_on_a_table_can_be_resumed_and_verified(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(trained / "classes"), "--workers", "0"], 0.0) == 0
    assert run(["resume", str(trained / "classes")], 0.0) == 0
    assert "is already finished" in capsys.readouterr().err


def test_prepare_then_train(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "prepared")
    assert run(["prepare", str(trained / "t.csv"), "--drop", "price", "-o", folder], 0.0) == 0
    assert "56,000 training rows, 14,000 test rows" in capsys.readouterr().err
    settings = ["--workers", "0", "--epochs", "4", "--batch-size", "512", "--hidden", "16"]
    assert run(["train", folder, *settings, "--run-dir", str(tmp_path / "run")], 0.0) == 0
    shas = [
        json.loads((path / "summary.json").read_text())["weights_sha256"]
        for path in (tmp_path / "run", trained / "classes")
    ]
    assert shas[0] == shas[1]
    assert run(["evaluate", str(tmp_path / "run"), folder], 0.0) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "{}/classes", "{}/t.csv", "-o", "out.xls"], "must end in .csv, .jsonl or .parquet"),
        (["predict", "{}/classes", "bad.csv", "-o", "out.csv"], "bad.csv has no column 'b', which the model was"),
        (["predict", "{}/classes", "text.csv", "-o", "out.csv"], "text.csv row 2 column 'a' is 'x': expected a number"),
        (["evaluate", "{}/classes", "text.csv"], "text.csv has no column 'label', the target"),
    ],
)
def test_a_failed_prediction_leaves_no_file(
    arguments: list[str],
    message: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.csv").write_text("a,colour\n1,red\n")
    (tmp_path / "text.csv").write_text("a,b,colour\n1,2,red\nx,2,red\n")
    capsys.readouterr()
    assert run([part.format(trained) for part in arguments], 0.0) in (1, 2)
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "text.csv"]
