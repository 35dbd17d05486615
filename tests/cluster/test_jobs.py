"""The parts of a job: restarts of the driver, the run directory as text, early refusals."""

import base64
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import psutil
import pytest
from plans import FOREVER, held
from processes import HANG_SECONDS, wait_until

import distbp
from distbp.actors.connection.jobs import _PACKAGE, staged
from distbp.cli import run
from distbp.cli.jobs import _train_arguments
from distbp.errors import RunError
from distbp.files.json_files import read_json
from distbp.runs.archive import pack, unpack


def start_job(folder, environment, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "distbp.cli.cluster_job", str(folder / "run"), "digits", "--workers", "0", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_driver_is_restarted_and_resumes(tmp_path):
    is_held = tmp_path / "held"
    arguments = ["--epochs", "3", "--batch-size", "4", "--checkpoint-seconds", "0.02"]
    job = start_job(tmp_path, held(os.environ, is_held), *arguments)
    wait_until(is_held.exists, job)
    (driver,) = psutil.Process(job.pid).children()
    driver.send_signal(signal.SIGKILL)
    _, output = job.communicate(timeout=HANG_SECONDS)
    assert job.returncode == 0, output
    assert "the driver was killed (attempt 1): restarting from its last checkpoint" in output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["recoveries"] == 1
    alone = distbp.train("digits", workers=0, epochs=3, batch_size=4).summary
    assert summary["weights_sha256"] == alone["weights_sha256"]


def test_a_stopped_job_is_not_restarted(tmp_path):
    job = start_job(tmp_path, os.environ, "--epochs", FOREVER)
    metrics = tmp_path / "run" / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.stat().st_size > 0, job)
    os.kill(job.pid, signal.SIGTERM)
    _, output = job.communicate(timeout=HANG_SECONDS)
    assert job.returncode == 130, output
    assert "to resume from step" in output


def test_a_wrong_command_fails_at_once(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "distbp.cli.cluster_job", str(tmp_path / "run"), "nothing.npz", "--workers", "0"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "nothing.npz does not exist" in done.stderr
    assert "again" not in done.stderr


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "run"
    (made / "checkpoints").mkdir(parents=True)
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(os.urandom(10_000))
    (made / "checkpoints" / "step-1.safetensors").write_bytes(b"state")
    return made


@pytest.mark.parametrize("checkpoints", [False, True])
def test_a_run_directory_arrives_unchanged(folder, checkpoints, tmp_path):
    unpack(f"some words before\n{pack(folder, checkpoints)}\nand after", tmp_path / "back")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert (tmp_path / "back" / "checkpoints").exists() == checkpoints


@pytest.mark.parametrize(
    "member",
    [
        pytest.param({"name": "../outside"}, id="outside"),
        pytest.param({"name": "/tmp/../outside"}, id="absolute"),
        pytest.param({"name": "link", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, id="link"),
        pytest.param({"name": "pipe", "type": tarfile.FIFOTYPE}, id="pipe"),
        pytest.param({"name": "sub", "type": tarfile.DIRTYPE}, id="folder"),
    ],
)
def test_a_run_with_anything_but_plain_files_is_refused(member, tmp_path):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        info = tarfile.TarInfo()
        for name, value in member.items():
            setattr(info, name, value)
        archive.addfile(info)
    output = f"-----BEGIN RUN-----\n{base64.encodebytes(content.getvalue()).decode()}-----END RUN-----"
    with pytest.raises(RunError, match=r"is damaged: .* is no file of a run directory"):
        unpack(output, tmp_path / "deep" / "back")
    assert [path.name for path in tmp_path.rglob("*")] == ["deep"]


def test_a_fetched_run_has_no_cluster_address_and_leaves_other_folders_alone(folder, tmp_path):
    (folder / "config.json").write_text('{"address": "auto", "seed": 1}')
    (tmp_path / ".back.partial").mkdir()
    (tmp_path / ".back.partial" / "mine").touch()
    unpack(pack(folder, False), tmp_path / "back")
    assert read_json(tmp_path / "back" / "config.json") == {"address": None, "seed": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".back.partial", "back", "run"]
    assert (tmp_path / ".back.partial" / "mine").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "http://head:8265", "--run-dir", "."], ". already exists: choose another folder to fetch to"),
        (["--address", "http://[::1"], "--address must be the URL of the cluster's dashboard"),
        (
            ["--address", "http://me:secret@head:8265"],
            "Error: --address must not contain a password: the cluster's token comes",
        ),
    ],
)
def test_errors_of_the_final_fetch_are_refused_at_once(options, message, capsys):
    assert run(["submit", *options, "--", "train", "digits"], 0.0) == 2
    assert message in capsys.readouterr().err


def test_an_unwritable_target_is_not_reported_as_damage(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written: "):
        unpack(pack(folder, False), tmp_path / "file" / "back")
    with pytest.raises(RunError, match="is damaged: "):
        unpack("-----BEGIN RUN-----\nbm8gZ3ppcA==\n-----END RUN-----", tmp_path / "back")


def test_a_damaged_or_missing_run_leaves_nothing_behind(folder, tmp_path):
    text = pack(folder, False)
    for damaged in (text[: len(text) // 2], text[:300] + "!" + text[301:], text[:300] + text[400:], "no run here"):
        with pytest.raises(RunError):
            unpack(damaged, tmp_path / "back")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["predict", "x"], 2, "only train can be submitted, found 'predict'"),
        (["train", "digits", "--quiet"], 2, "--quiet and --json are for runs on this machine"),
        (["train", "digits", "--json"], 2, "--quiet and --json are for runs on this machine: remove them after --"),
        (["train", "digits", "--lr", "-1"], 2, "-1.0 is not in the range"),
        (["train", "digits", "--optimizer", "sdg"], 2, "unknown optimizer 'sdg': did you mean 'sgd'?"),
        (["train", "digits", "--run-dir", "here"], 2, "the job resumes by itself"),
        (["train", "digits"], 2, "--address must be the URL of the cluster's dashboard, such as http://HEAD:8265"),
    ],
)
def test_errors_are_reported_before_anything_is_sent(arguments, code, message, capsys):
    assert run(["submit", "--address", "head:8265", "--", *arguments], 0.0) == code
    output = capsys.readouterr().err
    assert message in output
    assert len(output.splitlines()) == 1


def test_a_job_is_sent_the_whole_package():
    assert Path(distbp.__file__).parent == _PACKAGE


def test_all_input_files_of_a_command_are_sent(tmp_path):
    local, job_folder = tmp_path / "local", tmp_path / "job"
    local.mkdir()
    job_folder.mkdir()
    for name in ("-train.csv", "test.csv"):
        (local / name).write_text("x,y,z\n" + "".join(f"{k / 7},{k % 2},{k}\n" for k in range(60)))
    (local / "settings.toml").write_text(f'test-file = "{local / "test.csv"}"\nhidden = [8, 4]\nepochs = 9\n')
    given = (
        str(local / "-train.csv"),
        "--config",
        str(local / "settings.toml"),
        "--epochs",
        "2",
        "--drop=z",
        "--no-shuffle",
    )
    data, options = _train_arguments(("train", *given, "--target", "-2", "--workers", "0"))
    options, data, digest = staged(options, data, tmp_path / "data.zip")
    ZipFile(tmp_path / "data.zip").extractall(job_folder)
    for path in local.iterdir():
        path.unlink()
    job = [sys.executable, "-m", "distbp.cli.cluster_job", "--sent", digest, str(tmp_path / "run"), *options]
    job += ["--", *data]
    done = subprocess.run(job, cwd=job_folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["test_file"] == str(job_folder / "data-1" / "test.csv")
    assert (config["hidden"], config["epochs"], config["drop"], config["shuffle"]) == ([8, 4], 2, ["z"], False)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b" \n", "must contain the cluster's token and nothing else"),
        (b"one two", "must contain the cluster's token and nothing else"),
        (b"\xff", "cannot be read: it is not text"),
        (None, "cannot be read: Is a directory"),
    ],
    ids=["empty", "two words", "no text", "folder"],
)
def test_a_token_file_without_a_token_is_refused_before_any_request(tmp_path, capsys, content, expected):
    path = tmp_path / "token"
    path.mkdir() if content is None else path.write_bytes(content)
    assert run(["jobs", "--address", "http://127.0.0.1:1", "--token-file", str(path)], 0.0) == 1
    assert capsys.readouterr().err == f"Error: --token-file {path} {expected}\n"
