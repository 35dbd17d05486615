"""Real tables, from the raw files with default settings."""

import subprocess
import sys
from pathlib import Path

import pytest

import distbp


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


def test_mnist_is_the_same_in_every_format(data_folder, tmp_path):
    make = [
        sys.executable,
        "scripts/benchmarks/make_data.py",
        "mnist",
        data_folder / "mnist",
        tmp_path,
        "--rows",
        "1500",
    ]
    subprocess.run(make, cwd=Path(__file__).parents[1], check=True)
    settings = {"workers": 0, "epochs": 1, "hidden": (32,)}
    found = {
        distbp.train(tmp_path / "mnist.npz", **settings).summary["weights_sha256"],
        distbp.train(tmp_path / "images", **settings).summary["weights_sha256"],
        distbp.train(tmp_path / "train.parquet", test_file=tmp_path / "test.parquet", **settings).summary[
            "weights_sha256"
        ],
    }
    assert len(found) == 1
