"""Regression tests for errors that users met, from the user's point of view."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from callers import EndAfter, Notes

import distbp
from distbp.cli import run
from distbp.errors import Interrupted, RunError, UsageError


def regression_rows():
    x = np.random.default_rng(0).normal(size=(200, 3))
    return x, x @ [1.0, 2.0, 3.0]


def test_a_rate_that_would_diverge_later_does_not_fail_the_calibration():
    settings = {"epochs": 1, "optimizer": "sgd", "momentum": 0.0, "lr": 1.2, "hidden": (), "task": "regression"}
    alone = distbp.train(regression_rows(), workers=0, **settings)
    auto = distbp.train(regression_rows(), workers="auto", **settings)
    assert auto.summary["weights_sha256"] == alone.summary["weights_sha256"]


def test_the_command_and_python_predict_the_same_classes(tmp_path, capsys):
    result = distbp.train("digits", workers=0, epochs=3, output="relu", cost="mse", run_dir=tmp_path / "run")
    assert run(["predict", str(tmp_path / "run"), "digits"], 0.0) == 0
    told = [int(line.split(",")[0]) for line in capsys.readouterr().out.splitlines()[1:]]
    assert told == result.network.predict(distbp.load("digits").test.x).tolist()


def test_the_scale_of_bytes_is_saved_with_the_model(tmp_path, capsys):
    result = distbp.train("digits", workers=0, epochs=5, run_dir=tmp_path / "run")
    digits = distbp.load("digits")
    np.savez(tmp_path / "same.npz", x_test=digits.test.x, y_test=digits.test.y)
    assert run(["evaluate", str(tmp_path / "run"), str(tmp_path / "same.npz")], 0.0) == 0
    assert f"accuracy {result.summary['test_accuracy']:.6f}" in capsys.readouterr().out


def test_a_run_takes_the_settings_of_a_given_network(tmp_path):
    x, y = regression_rows()
    network = distbp.Network((3, 6, 5, 2), "tanh", output="sigmoid", cost="mse", dtype="float64")
    result = distbp.train((x, y > 0), network=network, workers=0, epochs=1, run_dir=tmp_path / "run")
    settings = (tmp_path / "run" / "config.json").read_text()
    assert result.network.weights.dtype == np.float64
    for told in ('"activation": "tanh"', '"output": "sigmoid"', '"cost": "mse"', '"dtype": "float64"'):
        assert told in settings


def test_a_classifier_is_refused_for_values():
    with pytest.raises(UsageError, match="cost cross-entropy is for classes"):
        distbp.train(regression_rows(), network=distbp.Network((3, 4, 2)), workers=0)


@pytest.mark.parametrize("data", [[np.ones((3, 2)), np.ones(3)], np.ones((3, 2)), None, (1, 2, 3), 7])
def test_data_of_another_shape_is_a_usage_error(data):
    with pytest.raises(UsageError, match="data must be"):
        distbp.train(data, workers=0)


def test_numpy_numbers_are_accepted_as_settings():
    config = distbp.Config(batch_size=np.int64(8), lr=np.float64(0.1), hidden=(np.int64(5),))
    assert (config.batch_size, config.lr, config.hidden) == (8, 0.1, (5,))


@pytest.mark.parametrize("line", ["epochs = 2.7", "lr = true", "workers = 1.5", "run-dir = 5", "seed = 1979-05-27"])
def test_a_settings_file_with_a_wrong_type_is_refused(tmp_path, capsys, line):
    (tmp_path / "s.toml").write_text(line + "\n")
    assert run(["train", "digits", "--config", str(tmp_path / "s.toml")], 0.0) == 2
    assert "cannot be" in capsys.readouterr().err


def test_a_closed_progress_pipe_does_not_end_the_run(tmp_path):
    command = f"{sys.executable} -m distbp train digits --workers 0 --epochs 30 --run-dir run 2> >(head -n 1)"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert "\ntest accuracy" in done.stdout  # after the one line that the reader took
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_gives_one_line(tmp_path):
    distbp.train("digits", workers=0, epochs=1, run_dir=tmp_path / "run")
    command = f"{sys.executable} -m distbp predict run digits > /dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_run_directory_that_cannot_be_created_is_refused_before_anything_starts(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "run", tmp_path / ("x" * 300)):
        with pytest.raises(distbp.DistbpError):
            distbp.train("digits", workers=0, run_dir=folder)


DIGITS_EPOCH = 12


@pytest.mark.parametrize("step", [DIGITS_EPOCH, 2 * DIGITS_EPOCH, 2 * DIGITS_EPOCH - 1])
def test_a_run_interrupted_at_the_end_of_an_epoch_resumes_to_the_same_result(step, tmp_path):
    whole = distbp.train("digits", workers=0, epochs=2)
    with pytest.raises(Interrupted):
        distbp.train("digits", workers=0, epochs=2, run_dir=tmp_path / "run", callbacks=[EndAfter(step)])
    again = distbp.resume(tmp_path / "run", callbacks=[heard := Notes()])
    assert heard.notes == [f"{tmp_path / 'run'} resumes after step {step} of {2 * DIGITS_EPOCH}"]  # no record is missed
    assert again.summary["weights_sha256"] == whole.summary["weights_sha256"]
    assert [record["epoch"] for record in again.history] == [1, 2]
    for mine, other in zip(again.history, whole.history, strict=True):
        assert mine["train_cost"] == other["train_cost"]
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("content", [None, b"", b"{}\n"])
def test_a_run_resumes_without_its_logs(content, tmp_path):
    with pytest.raises(Interrupted):
        distbp.train("digits", workers=0, epochs=2, run_dir=tmp_path / "run", callbacks=[EndAfter(DIGITS_EPOCH + 3)])
    for name in ("steps.bin", "metrics.jsonl"):
        if content is None:
            (tmp_path / "run" / name).unlink()
        else:
            (tmp_path / "run" / name).write_bytes(content if name == "steps.bin" else b"")
    whole = distbp.train("digits", workers=0, epochs=2)
    again = distbp.resume(tmp_path / "run")
    assert again.summary["weights_sha256"] == whole.summary["weights_sha256"]
    assert again.summary["epochs"] == 2
    assert [record["epoch"] for record in again.history] == [2]


def test_two_runs_never_write_into_one_directory(tmp_path):
    class Again(distbp.Callback):
        def on_step(self, record):
            with pytest.raises(RunError, match="is in use: another process trains there"):
                distbp.resume(tmp_path / "run")
            return True

    with pytest.raises(Interrupted):
        distbp.train("digits", workers=0, epochs=1, run_dir=tmp_path / "run", callbacks=[Again()])
    assert distbp.resume(tmp_path / "run").summary["epochs"] == 1
