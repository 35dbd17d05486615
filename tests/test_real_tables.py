"""Real tables, from the raw files with default settings."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import distbp
from distbp.data.formats.idx import read_idx_folder


def test_adult(data_folder):
    adult = data_folder / "adult"
    result = distbp.train(adult / "adult.data", test_file=adult / "adult.test", target=-1, workers=0)
    assert result.summary["test_accuracy"] >= 0.85
    assert result.network.classes == ("<=50K", ">50K")
    assert result.summary["constant_test_accuracy"] == pytest.approx(0.7638, abs=1e-4)


def test_california_housing(data_folder):
    result = distbp.train(data_folder / "california-housing" / "housing.csv", target="median_house_value", workers=0)
    assert result.summary["test_rmse"] < 55_000
    assert result.summary["test_r2"] > 0.77
    assert result.summary["linear_test_rmse"] > 60_000


def test_wine_quality(data_folder):
    files = [data_folder / "wine-quality" / f"winequality-{colour}.csv" for colour in ("red", "white")]
    result = distbp.train(files, target=-1, task="regression", workers=0)
    assert result.summary["test_r2"] > 0.33


def test_mnist_is_the_same_whatever_holds_it(data_folder, tmp_path):
    parts = {name: array[:1500] for name, array in read_idx_folder(data_folder / "mnist").items()}
    for part in ("train", "test"):
        x, y = parts[f"x_{part}"], parts[f"y_{part}"]
        for row, (image, label) in enumerate(zip(x, y, strict=True)):
            folder = tmp_path / "images" / part / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{row:05}.png")
        columns = {f"pixel{k}": np.ascontiguousarray(pixel) for k, pixel in enumerate(x.reshape(len(x), -1).T)}
        pq.write_table(pa.table({**columns, "label": y}), tmp_path / f"{part}.parquet")
    np.savez(tmp_path / "mnist.npz", **parts)
    settings = {"workers": 0, "epochs": 1, "hidden": (32,)}
    found = {
        distbp.train(tmp_path / "mnist.npz", **settings).summary["weights_sha256"],
        distbp.train(tmp_path / "images", **settings).summary["weights_sha256"],
        distbp.train(tmp_path / "train.parquet", test_file=tmp_path / "test.parquet", **settings).summary[
            "weights_sha256"
        ],
    }
    assert len(found) == 1
