"""Full disks, errors and signals: the run goes on if it can, else it notes how to resume it."""

import shutil
import tempfile
from pathlib import Path

import pytest

import distbp
from distbp.cli import run
from distbp.errors import ClusterError, Interrupted, PeerLostError, RunError
from distbp.parallel.step.executor import InProcessExecutor
from distbp.runs.checkpoints import newest_checkpoint
from distbp.system.folders import memory_folder
from distbp.training.callbacks import Callback

SETTINGS = {"hidden": (8,), "workers": 0, "epochs": 8, "early_stopping": 8, "batch_size": 512}


class Watching(Callback):
    """Keeps the notes, and calls a function at the end of an epoch."""

    def __init__(self, at=None):
        self.notes, self._at = [], at or {}

    def on_note(self, text):
        self.notes.append(text)

    def on_epoch_end(self, record):
        return self._at.get(record.epoch, lambda: None)()


@pytest.fixture
def disk(monkeypatch):
    """A disk that has no room for the weights of the best epoch as long as it is ``full``."""
    from distbp.files.tensors import write_tensors

    class Disk:
        full = False

        def fill(self):
            self.full = True

        def clear(self):
            self.full = False

    found = Disk()

    def write(path, *given):
        if found.full:
            raise RunError(f"{path} cannot be written: No space left on device")
        write_tensors(path, *given)

    monkeypatch.setattr("distbp.runs.state_writer.write_tensors", write)
    return found


@pytest.fixture(scope="module")
def undisturbed():
    return distbp.train("digits", **SETTINGS).summary["weights_sha256"]


def test_the_best_weights_wait_in_memory_until_there_is_room(disk, undisturbed, tmp_path):
    watching = Watching({2: disk.fill, 5: disk.clear})
    result = distbp.train("digits", run_dir=tmp_path / "run", callbacks=[watching], **SETTINGS)
    assert result.summary["weights_sha256"] == undisturbed
    (note,) = [note for note in watching.notes if "best.safetensors" in note]
    assert "No space left" in note
    assert note.endswith("the run goes on")


def test_no_checkpoint_is_newer_than_the_best_weights_that_it_needs(disk, undisturbed, tmp_path):
    asked = []
    watching = Watching({2: disk.fill, 5: lambda: asked.append(5)})
    watching.on_step = lambda record: bool(asked)
    with pytest.raises(Interrupted):
        distbp.train("digits", run_dir=tmp_path, callbacks=[watching], **SETTINGS)
    step = newest_checkpoint(tmp_path / "checkpoints", pytest.fail).step
    assert step == 6
    assert watching.notes[-1] == f"to resume from step 6: distbp resume {tmp_path}"
    disk.clear()
    assert distbp.resume(tmp_path).summary["weights_sha256"] == undisturbed


def test_a_model_for_which_the_disk_was_full_is_written_by_resume(undisturbed, tmp_path):
    watching = Watching({8: (tmp_path / "model.safetensors").mkdir})
    with pytest.raises(RunError, match=r"model\.safetensors cannot be written"):
        distbp.train("digits", run_dir=tmp_path, callbacks=[watching], **SETTINGS)
    assert watching.notes[-1] == f"to resume from step 24: distbp resume {tmp_path}"
    assert not (tmp_path / "summary.json").exists()
    (tmp_path / "model.safetensors").rmdir()
    assert distbp.resume(tmp_path).summary["weights_sha256"] == undisturbed


@pytest.mark.parametrize(
    "error",
    [
        ClusterError("one"),
        RunError("one"),
        PeerLostError("one"),
        OSError("one"),
        MemoryError(),
        ValueError("a bug"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_note_after_any_error_names_the_last_checkpoint(error, undisturbed, tmp_path, monkeypatch):
    steps, past = InProcessExecutor.steps, []

    def fail(pool, stop, factor=1.0):
        for record in steps(pool, stop, factor):
            yield record
            if record.step == 10 and not past:
                past.append(record.step)
                raise error

    monkeypatch.setattr(InProcessExecutor, "steps", fail)
    watching = Watching()
    with pytest.raises(type(error)):
        distbp.train("digits", run_dir=tmp_path, callbacks=[watching], **SETTINGS)
    step = newest_checkpoint(tmp_path / "checkpoints", pytest.fail).step
    assert watching.notes[-1] == f"to resume from step {step}: distbp resume {tmp_path}"
    assert not (tmp_path / ".lock").exists()
    assert distbp.resume(tmp_path).summary["weights_sha256"] == undisturbed


def test_partial_files_of_killed_writers_are_removed_by_resume_and_clean(tmp_path):
    folder = tmp_path / "runs" / "one"
    remains = (
        ".best.safetensors.4242.partial",
        ".tmpAb3dEf",
        ".config.json.1.partial",
        "checkpoints/.tmpAb3dEf",
        "checkpoints/.step-0000000003.safetensors.7.partial",
        ".lock.0123456789abcdef.broken",
    )
    with pytest.raises(Interrupted):
        watching = Watching()
        watching.on_step = lambda record: record.step == 7
        distbp.train("digits", run_dir=folder, callbacks=[watching], **SETTINGS)
    shutil.copytree(folder, folder.with_name("left"))
    for each in (folder, folder.with_name("left")):
        for name in remains:
            (each / name).write_bytes(b"half")
        (each / ".mine").touch()
    dead = Path(tempfile.mkdtemp(prefix="distbp-", dir=memory_folder()))  # as of a driver that had workers
    (dead / "owner").touch()
    distbp.resume(folder)
    assert not dead.exists()
    assert {path.name for path in folder.rglob(".*")} == {".mine"}
    assert run(["clean", str(tmp_path), "--left", "--yes"], 0.0) == 0
    assert folder.with_name("left").exists(), "it holds what distbp did not write"
    (folder.with_name("left") / ".mine").unlink()
    assert run(["clean", str(tmp_path), "--left", "--yes"], 0.0) == 0
    assert not folder.with_name("left").exists()


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        (["digits"], 0, "is already finished"),
        (["digits", "--workers", "2", "--timeout", "7"], 0, "is already finished"),
        (
            ["digits", "--lr", "0.5"],
            1,
            "is finished, but differs: lr is 0.5, was 0.001; choose another --run-dir",
        ),
        (["digits", "--hidden", "9"], 1, "or --force to accept the finished run"),
        (["table.csv", "--target", "y"], 1, "the data are not the same"),
        (["digits", "--lr", "0.5", "--force"], 0, "is already finished"),
    ],
)
def test_a_finished_run_is_accepted_only_if_nothing_relevant_differs(
    changed, code, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("x,y\n" + "".join(f"{k},{k % 2}\n" for k in range(100)))
    usual = ["train", "--run-dir", "run", "--resume", "auto", "--workers", "0", "--epochs", "1"]
    assert run([*usual, "digits"], 0.0) == 0
    assert run([*usual, *changed], 0.0) == code
    assert said in capsys.readouterr().err
