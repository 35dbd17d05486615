import csv
import json
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from generated import all_commands

from distbp.cli import run
from distbp.cli.options import settings_options
from distbp.config import Config


def train(folder: Path, *arguments: str) -> dict[str, object]:
    assert run(["train", *arguments, "--workers", "0", "--run-dir", str(folder / "run")], 0.0) == 0
    return json.loads((folder / "run" / "summary.json").read_text())


def test_train_evaluate_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = train(tmp_path, "digits", "--epochs", "8")
    out, err = capsys.readouterr()
    assert out == f"test accuracy {summary['test_accuracy']:.4f}\n"
    assert sum(line.startswith("epoch ") for line in err.splitlines()) == 8

    assert run(["evaluate", str(tmp_path / "run"), "digits"], 0.0) == 0
    numbers, _, confusion = capsys.readouterr().out.partition("\n\n")
    lines = dict(line.split() for line in numbers.splitlines())
    assert len(confusion.splitlines()) == 11
    assert lines["rows"] == "360"
    assert float(lines["accuracy"]) == pytest.approx(summary["test_accuracy"], abs=1e-6)
    assert float(lines["cost"]) == pytest.approx(summary["test_cost"], abs=1e-6)

    assert run(["predict", str(tmp_path / "run"), "digits", "-o", str(tmp_path / "out.csv")], 0.0) == 0
    assert run(["predict", str(tmp_path / "run"), "digits"], 0.0) == 0
    text = (tmp_path / "out.csv").read_text()
    assert capsys.readouterr().out == text
    rows = list(csv.DictReader(text.splitlines()))
    with np.load(Path(__file__).parents[2] / "distbp" / "data" / "digits.npz") as digits:
        right = np.mean([int(row["class"]) == y for row, y in zip(rows, digits["y_test"], strict=True)])
    assert right == summary["test_accuracy"]
    assert sum(float(rows[0][f"probability_{k}"]) for k in range(10)) == pytest.approx(1, abs=1e-4)


def test_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((400, 3))
    np.savez(tmp_path / "data.npz", X=x, y=x @ [1.0, -2.0, 0.5])
    summary = train(tmp_path, str(tmp_path / "data.npz"), "--epochs", "40")
    assert summary["test_r2"] > 0.9
    assert "test_accuracy" not in summary
    assert capsys.readouterr().out == f"test rmse {summary['test_rmse']:.4f}\ntest r2 {summary['test_r2']:.4f}\n"
    np.savez(tmp_path / "new.npz", X=x[:5])
    assert run(["predict", str(tmp_path / "run"), str(tmp_path / "new.npz")], 0.0) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert run(["evaluate", str(tmp_path / "run"), str(tmp_path / "new.npz")], 0.0) == 1
    assert "holds no targets" in capsys.readouterr().err


@pytest.mark.parametrize("cost", ["cross-entropy", "binary-cross-entropy", "mse"])
def test_two_text_classes_with_every_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str], cost: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    np.savez(tmp_path / "data.npz", X=x, y=np.where(x[:, 0] > x[:, 1], "yes", "no"))
    summary = train(tmp_path, str(tmp_path / "data.npz"), "--cost", cost, "--epochs", "60", "--lr", "0.01")
    assert summary["test_accuracy"] > 0.95
    capsys.readouterr()
    assert run(["predict", str(tmp_path / "run"), str(tmp_path / "data.npz")], 0.0) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["class"] for row in rows} == {"no", "yes"}
    assert set(rows[0]) == {"class", "probability_no", "probability_yes"}


def test_options_override_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('hidden = [16, 8]\nbatch-size = 64\nepochs = 2\noptimizer = "sgd"\n')
    train(tmp_path, "digits", "--config", str(tmp_path / "s.toml"), "--epochs", "1")
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (settings["hidden"], settings["batch_size"], settings["epochs"]) == ([16, 8], 64, 1)
    assert (settings["optimizer"], settings["lr"], settings["momentum"]) == ("sgd", 0.1, 0.9)


def test_config_json_contains_every_setting(tmp_path: Path) -> None:
    train(tmp_path, "digits", "--epochs", "1")
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    assert set(Config.__dataclass_fields__) < set(settings)
    assert [name for name, value in settings.items() if value is None] == [
        "class_weights",
        "momentum",
        "weight_decay",
        "clip_value",
        "clip_norm",
        "max_norm",
        "early_stopping",
        "target",
        "weights",
        "separator",
        "header",
        "test_file",
        "address",
        "servers",
        "host_ports",
    ]
    assert settings["data"] == ["digits"]


def test_every_setting_has_an_option_and_the_same_default() -> None:
    options = {option.name: option for option in settings_options(lambda: None).__click_params__}
    options.pop("config_file")
    assert set(options) == set(Config.__dataclass_fields__)
    defaults = {name: option.default for name, option in options.items() if option.default is not None}
    blank = Config()
    for name in ("batch_size", "epochs", "seed", "workers", "threads", "timeout", "wait", "activation", "optimizer"):
        assert defaults[name] == getattr(blank, name)


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in all_commands().items():
        assert run([name, "--help"], 0.0) == 0
        assert "Example:" in capsys.readouterr().out
        assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_a_closed_pipe_prints_no_traceback(tmp_path: Path) -> None:
    train(tmp_path, "digits", "--epochs", "1")
    command = f"{sys.executable} -m distbp predict run digits | head -n 1"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("class,")
    assert done.stderr == ""
