"""A run is resumed only if settings, checkpoint, records, best weights and connections belong together."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from callers import EndAfter

import distbp
from distbp.cli import run as command
from distbp.config import SETTINGS, Config, deciding_sha256
from distbp.errors import Interrupted, RunError
from distbp.files.json_files import read_json, write_json
from distbp.files.json_text import Unexpected
from distbp.files.tensors import write_tensors
from distbp.model.network import Network
from distbp.runs.checkpoints import newest_checkpoint, write_checkpoint
from distbp.runs.records import METRICS, metrics_line, read_metrics
from distbp.runs.saved import read_saved
from distbp.training.verify import verify

ROWS = Path(__file__).parent / "written_before" / "rows.csv"


@pytest.fixture
def left(tmp_path):
    """Return a function that interrupts a run of six epochs in the fourth."""

    def begin(**settings):
        with pytest.raises(Interrupted):
            distbp.train(
                ROWS,
                target="label",
                hidden=(3,),
                batch_size=8,
                epochs=6,
                workers=0,
                run_dir=tmp_path / "left",
                callbacks=[EndAfter(14)],
                **settings,
            )
        return tmp_path / "left"

    return begin


def change(run, **settings):
    """Change settings and give the file a valid checksum."""
    write_json(run / "config.json", read_json(run / "config.json") | settings)


@pytest.mark.parametrize("changed", [{"l1": 0.8}, {"epochs": 7}, {"seed": 5}, {"data_sha256": "0" * 64}])
def test_a_changed_setting_that_changes_the_result_is_refused(left, changed):
    run = left()
    change(run, **changed)
    with pytest.raises(RunError, match=r"config\.json was changed after the checkpoint of step 14"):
        distbp.resume(run)
    if "data_sha256" not in changed:
        assert distbp.resume(run, force=True).summary["steps"] == 4 * changed.get("epochs", 6)


def test_a_setting_that_does_not_change_the_result_may_change(left):
    run = left()
    change(run, timeout=33.0, checkpoint_seconds=1.0, address=None)
    assert distbp.resume(run).summary["steps"] == 24


def test_a_flipped_bit_in_the_settings_is_named_by_all_that_use_them(left, capsys):
    run = left()
    told = (run / "config.json").read_text()
    assert '"l1": 0.0' in told
    (run / "config.json").write_text(told.replace('"l1": 0.0', '"l1": 0.8'))
    for words in (["resume", run], ["verify", run], ["diff", run, run], ["report", run], ["inspect", run]):
        assert command([str(word) for word in words], 0.0) == 1
        assert "config.json cannot be read: it is damaged" in capsys.readouterr().err
    assert command(["runs", str(run.parent)], 0.0) == 0
    out, err = capsys.readouterr()
    assert "broken" in out
    assert "config.json cannot be read" in err
    with pytest.raises(RunError):
        verify(run)


def test_a_setting_that_a_later_version_adds_does_not_change_the_hash():
    before = Config(lr=0.5).to_json()
    assert deciding_sha256({name: each for name, each in before.items() if name != "wire"}) == deciding_sha256(before)
    assert deciding_sha256(before) != deciding_sha256(before | {"lr": 0.25})


@pytest.mark.parametrize("settings", [{"early_stopping": 9}, {"schedule": "plateau"}])
def test_records_that_early_stopping_or_plateau_need_must_exist(left, settings):
    run = left(**settings)
    records = read_metrics(run)
    for kept in (0, 2):
        (run / METRICS).write_text("".join(map(metrics_line, records[:kept])))
        with pytest.raises(RunError, match=rf"metrics\.jsonl holds the records of {kept} epochs of 3"):
            distbp.resume(run)
    (run / METRICS).write_text("".join(map(metrics_line, [records[0], records[2], records[1]])))
    with pytest.raises(RunError, match=r"metrics\.jsonl cannot be read: line 2: found epoch 3"):
        distbp.resume(run)


def test_the_best_weights_must_exist(left):
    run = left(early_stopping=9)
    whole = (run / "best.safetensors").read_bytes()
    (run / "best.safetensors").unlink()
    with pytest.raises(RunError, match=r"best\.safetensors does not exist"):
        distbp.resume(run)
    (run / "best.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(RunError, match=r"best\.safetensors is damaged"):
        distbp.resume(run)
    write_tensors(run / "best.safetensors", {"weights": distbp.load("digits").test.x[0].astype("f4")})
    with pytest.raises(RunError, match=r"best\.safetensors does not hold the 41 weights"):
        distbp.resume(run)


def test_the_connections_must_exist(tmp_path):
    network = Network((10, 3, 2), connections=[[[1, 0] * 5] * 3, None], classes=("big", "small"))
    with pytest.raises(Interrupted):
        distbp.train(
            ROWS,
            target="label",
            batch_size=8,
            epochs=6,
            workers=0,
            network=network,
            run_dir=tmp_path / "run",
            callbacks=[EndAfter(14)],
        )
    shutil.copytree(tmp_path / "run", tmp_path / "without")
    (tmp_path / "without" / "connections.safetensors").unlink()
    with pytest.raises(RunError, match=r"connections\.safetensors"):
        distbp.resume(tmp_path / "without")
    assert distbp.resume(tmp_path / "run").network.structure.connections


def test_every_setting_is_checked_by_its_type():
    wrong = {"bool": 1, "int": "x", "float": "x", "str": 5, "tuple": 3}
    for name, value in Config(lr=0.5).to_json().items():
        kind = "bool" if isinstance(value, bool) else type(value).__name__.replace("list", "tuple")
        if kind in wrong:
            with pytest.raises(Unexpected, match=f"^{name}"):
                SETTINGS({name: wrong[kind] if name != "workers" else 1.5}, "")
    SETTINGS(Config(lr=0.5, class_weights={"a": 1.0}, drop=("x", "3")).to_json(), "")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"health": {"cost": 1.0, "norms": [1.0]}}, "expected 2"),
        ({"structure": {"sizes": [10, 3], "activations": ["softmax"], "cost": "cross-entropy"}}, "expected 1"),
        ({"structure": {"sizes": [10, 4, 2], "activations": ["relu", "softmax"], "cost": "cross-entropy"}}, "54"),
        ({"epoch": None}, "epoch: found null"),
        ({"recoveries": -1}, "recoveries: found -1"),
    ],
)
def test_a_checkpoint_with_a_valid_checksum_that_does_not_fit_is_refused(left, changed, said):
    run, notes = left(), []
    newest = newest_checkpoint(run / "checkpoints", pytest.fail)
    for each in (run / "checkpoints").iterdir():
        each.unlink()
    write_checkpoint(run / "checkpoints", replace(newest, described={**newest.described, **changed}))
    with pytest.raises(RunError) as refused:
        read_saved(run, notes.append).network()
    assert said in f"{notes} {refused.value}"
