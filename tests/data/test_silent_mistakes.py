"""Inputs that could go wrong silently are handled correctly or refused in one line."""

import os
import signal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from processes import run_program

import distbp
from distbp.cli import run
from distbp.data import load, prepare
from distbp.data.fingerprint import data_fingerprint
from distbp.errors import DataError
from distbp.model.scoring import chunks_of, score

QUICK = {"workers": 0, "epochs": 1, "hidden": (4,)}


def table(y, rows=100):
    return pd.DataFrame({"x": np.arange(rows) % 7 + 0.5, "z": np.arange(rows) % 3 * 1.5, "y": y})


@pytest.mark.parametrize("y", [np.full(100, 70.5), 100.5 + 2 * (np.arange(100) % 2)], ids=["constant", "deviation 1"])
def test_predicted_values_have_the_unit_of_the_targets(y):
    network = distbp.train(table(y), **QUICK).network
    assert network.preprocessing.target.deviation == pytest.approx(1)
    assert np.abs(network.predict(table(y)) - y.mean()).max() < 10


def test_scores_of_prepared_values_have_the_unit_of_the_targets(tmp_path):
    table(np.arange(100) * 1000.0 + 50_000).to_csv(tmp_path / "t.csv", index=False)
    prepare(tmp_path / "t.csv", out=tmp_path / "out")
    result = distbp.train(tmp_path / "out", **QUICK)
    found = score(result.network, chunks_of(result.network, [tmp_path / "out"], True))
    assert found.scores.rmse == pytest.approx(result.summary["test_rmse"], rel=1e-5)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"target": "x"}, "leave --target out"),
        ({"drop": ["z"]}, "leave --drop out"),
        ({"test_fraction": 0.5}, "leave --test-fraction out"),
        ({"dtype": "float64"}, "leave --dtype out"),
        ({"task": "classification"}, "leave --task out"),
        ({"cost": "poisson"}, "not for this cost"),
    ],
)
def test_options_that_contradict_a_prepared_data_set_are_refused(setting, says, tmp_path):
    table(np.arange(100) * 1.5).to_csv(tmp_path / "t.csv", index=False)
    prepare(tmp_path / "t.csv", out=tmp_path / "out")
    with pytest.raises(DataError, match=f"was prepared with.*{says}"):
        distbp.train(tmp_path / "out", **QUICK, **setting)
    load(tmp_path / "out", target="y", task="regression", seed=7)  # settings equal to the prepared ones are accepted


def test_targets_are_converted_once_even_if_the_reading_is_killed(tmp_path):
    y = np.array(["no", "yes", "maybe"])[np.arange(70_000) % 3]
    table(y, 70_000).to_csv(tmp_path / "t.csv", index=False)
    killed = run_program("reads_in_small_blocks", "call:data_fingerprint:1", tmp_path / "t.csv", tmp_path / "out")
    assert killed.returncode == -signal.SIGKILL
    done = run_program("reads_in_small_blocks", "call:nothing:1", tmp_path / "t.csv", tmp_path / "out")
    assert "continuing in" in done.stdout, done.stderr
    assert load(tmp_path / "out").sha256 == data_fingerprint(load(tmp_path / "t.csv"))
    assert not list((tmp_path / "out").glob("*targets*"))


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"a": [1, 300], "b": [2, 2]}, "row 2 column 'a' is 300: expected a pixel"),
        ({"a": [1, 2], "b": [2.5, 2]}, "row 1 column 'b' is 2.5: expected a pixel"),
        ({"a": [1, 2], "b": [None, 2]}, "row 1 column 'b' is missing"),
    ],
)
def test_pixels_are_integers_of_one_byte_in_every_format(columns, says, tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (60, 2), np.uint8)
    trained = pa.table({"a": rows[:, 0], "b": rows[:, 1], "y": np.where(rows[:, 0] > 99, "high", "low")})
    network = distbp.train(trained, **QUICK).network
    pd.DataFrame(rows.astype(float), columns=["a", "b"]).to_csv(tmp_path / "t.csv", index=False)
    (chunk,) = chunks_of(network, [tmp_path / "t.csv"], False)
    assert chunk.x.dtype == np.uint8
    assert chunk.x.tobytes() == rows.tobytes()
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    for name in ("t.parquet", "t.csv"):
        with pytest.raises(DataError, match=says):
            list(chunks_of(network, [tmp_path / name], False))


def test_numbers_beyond_single_precision_are_refused():
    large = table(np.arange(100) % 2)
    network = distbp.train(large, **QUICK).network
    large.loc[70, "z"] = 1e39
    says = r"row 71 column 'z' is 1e\+39: expected a finite number of at most 1e\+37 \(float32\)"
    with pytest.raises(DataError, match=says):
        load(large)
    with pytest.raises(DataError, match=says):
        network.predict(large)
    load(large, dtype="float64")


def test_classes_equal_as_numbers_are_refused():
    with pytest.raises(DataError, match=r"column 'y' holds classes of 2\^53 and more"):
        load(table(2**53 + 2 * (np.arange(100) % 2)))


def test_text_classes_that_look_like_numbers_are_read_as_text(tmp_path):
    frame = table(np.array(["10", "20", "other"])[np.arange(100) % 3])
    network = distbp.train(frame, **QUICK).network
    frame[frame["y"] != "other"].to_csv(tmp_path / "t.csv", index=False)
    assert score(network, chunks_of(network, [tmp_path / "t.csv"], True)).rows == 67
    (tmp_path / "t.csv").write_text("x,z,y\n1,2,10\n1,2,30\n")
    with pytest.raises(DataError, match=r"t\.csv row 2 column 'y' is '30', which is none of the classes '10', '20'"):
        score(network, chunks_of(network, [tmp_path / "t.csv"], True))


def test_rows_of_the_test_file_need_no_weights(tmp_path):
    frame = table(np.arange(100) % 2).assign(w=1.0)
    frame.to_csv(tmp_path / "train.csv", index=False)
    frame.drop(columns="w").to_csv(tmp_path / "test.csv", index=False)
    assert len(load(tmp_path / "train.csv", weights="w", test_file=str(tmp_path / "test.csv")).test) == 100


def test_fractions_in_a_second_table_turn_integers_into_values():
    assert load(table(np.arange(100) % 3), table(np.arange(100) % 3 + 0.5)).task == "regression"


def test_times_of_day_are_text(tmp_path):
    table(np.arange(100) % 2).assign(t=[f"10:{k % 60:02}:00" for k in range(100)]).to_csv(
        tmp_path / "t.csv", index=False
    )
    assert load(tmp_path / "t.csv").preprocessing.columns[-1].kind == "category"


def test_images_without_a_class_are_predicted_and_hidden_files_ignored(tmp_path, rng):
    def image(name, kind=np.uint8):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 250, (4, 5)).astype(kind)).save(path)

    for k in range(20):
        image(f"all/{'ab'[k % 2]}/{k:02}.png")
    image("all/.cache/0.png")
    image("flat/0.png")
    image("deep/a/0.png", np.uint16)
    (tmp_path / "all" / "a" / "._0.png").write_text("no image")
    network = distbp.train(tmp_path / "all", **QUICK).network
    assert network.classes == ("a", "b")
    assert [len(chunk.x) for chunk in chunks_of(network, [tmp_path / "flat"], False)] == [1]
    with pytest.raises(DataError, match="flat has no column called target"):
        load(tmp_path / "flat")
    with pytest.raises(DataError, match=r"0\.png has more than 8 bits per pixel"):
        load(tmp_path / "deep")


def test_predictions_do_not_overwrite_their_input(tmp_path, capsys):
    table(np.arange(100) % 2).to_csv(tmp_path / "t.csv", index=False)
    distbp.train(tmp_path / "t.csv", **QUICK, run_dir=tmp_path / "run")
    before = (tmp_path / "t.csv").read_bytes()
    for out, says in (("t.csv", "is one of the input files"), ("run", "is a folder")):
        assert run(["predict", str(tmp_path / "run"), str(tmp_path / "t.csv"), "-o", str(tmp_path / out)], 0.0) == 2
        assert says in capsys.readouterr().err
    assert (tmp_path / "t.csv").read_bytes() == before


def test_many_classes_fit_into_memory():
    y = [f"class {k % 4000}" for k in range(12_000)]
    result = distbp.train(table(y, 12_000), **QUICK, batch_size=2048)
    assert result.summary["constant_test_accuracy"] < 0.01
    frame = table(y[:50], 50)
    (chunk,) = chunks_of(result.network, [frame], True)
    assert score(result.network, iter([chunk])).scores.confusion is None


def killed_prediction(folder, number):
    """Train in a folder, then end a prediction into out.csv with a signal at its first block."""
    table(np.arange(100) % 2).to_csv(folder / "t.csv", index=False)
    distbp.train(folder / "t.csv", **QUICK, run_dir=folder / "run")
    predict = ["predict", "run", "t.csv", "-o", "out.csv"]
    return run_program("signalled", int(number), "call:TextWriter.write:1", *predict, folder=folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_prediction_leaves_no_file(number, tmp_path):
    done = killed_prediction(tmp_path, number)
    assert (done.returncode, done.stderr.split("\n")) == (130, ["the moment", "", "interrupted", ""])
    assert {path.name for path in tmp_path.iterdir()} == {"run", "t.csv"}


def test_the_next_prediction_removes_files_of_a_killed_one(tmp_path):
    assert killed_prediction(tmp_path, signal.SIGKILL).returncode == -signal.SIGKILL
    (remains,) = tmp_path.glob(".out.csv.*")
    kept = [f".out.csv.{os.getppid()}.partial", ".out.csv.2024", ".out.csv.old.partial"]
    for name in kept:  # a file of a running process, and files of the user
        (tmp_path / name).write_text("")
    assert run(["predict", str(tmp_path / "run"), str(tmp_path / "t.csv"), "-o", str(tmp_path / "out.csv")], 0.0) == 0
    assert not remains.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"run", "t.csv", "out.csv", *kept}


def test_predictions_are_written_to_the_target_of_a_link(tmp_path):
    table(np.arange(100) % 2).to_csv(tmp_path / "t.csv", index=False)
    distbp.train(tmp_path / "t.csv", **QUICK, run_dir=tmp_path / "run")
    (tmp_path / "far").mkdir()
    (tmp_path / "out.csv").symlink_to(tmp_path / "far" / "real.csv")
    for _ in range(2):  # a new file first, then an existing one
        assert run(["predict", str(tmp_path / "run"), str(tmp_path / "t.csv"), "-o", str(tmp_path / "out.csv")], 0) == 0
        assert (tmp_path / "out.csv").is_symlink()
        assert len((tmp_path / "far" / "real.csv").read_text().splitlines()) == 101
        assert [path.name for path in (tmp_path / "far").iterdir()] == ["real.csv"]
