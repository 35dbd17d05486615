"""Prepared data sets have the same rows as data in memory, are memory-mapped, and resume when interrupted."""

import errno
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
from processes import join, run_program, wait_until

import distbp
from distbp.data import load, prepare
from distbp.data.fingerprint import data_fingerprint
from distbp.data.prepared.cache import remove_prepared
from distbp.errors import DataError, HeldError, UsageError
from distbp.files.locks import locked
from distbp.files.locks.holders import this_process


def write_table(path, rows, seed=0):
    rng = np.random.default_rng(seed)
    x, colour = rng.normal(size=(rows, 3)), rng.choice(["red", "green", "blue"], rows)
    y = (x[:, 0] + (colour == "red") > 0.3).astype(int)
    with path.open("w") as file:
        file.write("a,b,c,colour,y\n")
        for k in range(rows):
            b = "" if k % 50 == 3 else f"{x[k, 1]:.6f}"
            file.write(f"{x[k, 0]:.6f},{b},{x[k, 2]:.6f},{colour[k]},{y[k]}\n")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Write a table of three chunks, so that its statistics are merged."""
    return write_table(tmp_path_factory.mktemp("table") / "t.csv", 140_000)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("distbp.data.formats.text._BLOCK", 1 << 19)


def test_prepared_data_equal_data_in_memory(table, tmp_path, small_blocks):
    told = []
    prepare(
        table, out=tmp_path / "out", validation_fraction=0.1, progress=lambda done, total: told.append(done / total)
    )
    mapped, in_memory = load(tmp_path / "out"), load(table, validation_fraction=0.1)
    assert isinstance(mapped.train.x, np.memmap)
    assert told == sorted(told)
    assert told[-1] == 1
    assert mapped.sha256 == data_fingerprint(in_memory)
    for part in ("train", "validation", "test"):
        one, other = getattr(mapped, part), getattr(in_memory, part)
        assert one.x.tobytes() == other.x.tobytes()
        assert one.y.tobytes() == other.y.tobytes()
    assert mapped.preprocessing == in_memory.preprocessing


def test_block_size_does_not_matter(table, monkeypatch):
    whole = data_fingerprint(load(table))
    monkeypatch.setattr("distbp.data.formats.text._BLOCK", 300_000)
    assert data_fingerprint(load(table)) == whole


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.ray)])
def test_training_on_mapped_data_gives_the_same_bits(workers, table, tmp_path):
    prepare(table, out=tmp_path / "out")
    settings = {"epochs": 1, "batch_size": 2048, "hidden": (8,)}
    in_memory = distbp.train(table, workers=0, **settings)
    mapped = distbp.train(tmp_path / "out", workers=workers, **settings)
    assert mapped.summary["weights_sha256"] == in_memory.summary["weights_sha256"]


def test_a_killed_reading_resumes(table, tmp_path):
    """Kill the reading repeatedly; each time the next one resumes from the last saved state."""
    for state in (1, 2, 2):  # before the first state is saved, before the second, and before the third
        killed = run_program("reads_in_small_blocks", f"call:_save_state:{state}", table, tmp_path / "out")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = run_program("reads_in_small_blocks", "call:nothing:1", table, tmp_path / "out")
    assert "continuing in" in done.stdout, done.stderr
    assert load(tmp_path / "out").sha256 == data_fingerprint(load(table))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_reading_of_another_table_is_not_resumed(tmp_path, small_blocks, monkeypatch):
    path = write_table(tmp_path / "t.csv", 140_000)
    monkeypatch.setattr("distbp.data.prepared.writer._SECONDS_BETWEEN_STATES", 0.0)

    def interrupt(done, total):
        if done > 0.7 * total:
            raise KeyboardInterrupt

    told = []
    with pytest.raises(KeyboardInterrupt):
        prepare(path, out=tmp_path / "out", progress=interrupt, note=told.append)
    assert "the same command continues from there" in told[-1]
    write_table(path, 140_000, seed=1)
    prepare(path, out=tmp_path / "out")
    assert load(tmp_path / "out").sha256 == data_fingerprint(load(path))


def test_existing_folder_is_not_changed(table, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="out exists already"):
        prepare(table, out=tmp_path / "out")
    told = []
    prepare(table, out=tmp_path / "new")
    prepare(table, out=tmp_path / "new", note=told.append)
    assert "exists already, made from the same files" in told[0]


def test_arrays_can_be_prepared(digits, tmp_path):
    prepare("digits", out=tmp_path / "out")
    mapped = load(tmp_path / "out")
    assert mapped.train.x.tobytes() == digits.train.x.tobytes()
    assert (mapped.classes, mapped.train.factor) == (digits.classes, digits.train.factor)


def test_damage_is_noticed(table, tmp_path):
    prepare(table, out=tmp_path / "out")
    path = tmp_path / "out" / "train-y.npy"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="out is damaged"):
        load(tmp_path / "out")


def test_validation_part_must_have_been_prepared(table, tmp_path):
    prepare(table, out=tmp_path / "out")
    with pytest.raises(DataError, match="prepared without --validation-fraction: leave"):
        load(tmp_path / "out", validation_fraction=0.2)


def test_large_files_are_read_into_the_cache_once(table, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("distbp.data.sizes._LARGE_BYTES", 1 << 20)
    told = []
    first = load(table, note=told.append)
    assert any("is large: it is read once into" in text for text in told)
    told.clear()
    again = load(table, note=told.append)
    assert told == []
    assert isinstance(first.train.x, np.memmap)
    assert first.sha256 == again.sha256 == data_fingerprint(again)
    assert len(list((tmp_path / "distbp").iterdir())) == 1


def test_data_of_another_host_are_prepared_again_after_its_heartbeat_stops(table, tmp_path, monkeypatch):
    monkeypatch.setattr("distbp.files.locks.lock.POLL_SECONDS", 0.02)
    monkeypatch.setattr("distbp.files.locks.holders.DEAD_AFTER_SECONDS", 0.3)
    lock = tmp_path / ".out.lock"
    lock.write_bytes(replace(this_process(), host="gpu-7", token="theirs").as_bytes())
    told = []
    prepare(table, out=tmp_path / "out", note=told.append)
    assert f"another process is making {tmp_path / 'out'}: waiting for it" in told
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_process_waits_while_another_prepares_the_same_data(table, tmp_path, monkeypatch):
    monkeypatch.setattr("distbp.files.locks.lock.POLL_SECONDS", 0.02)
    told, paths = [], []
    with locked(tmp_path / ".out.lock", tmp_path / "out", pytest.fail):
        waiting = threading.Thread(target=lambda: paths.append(prepare(table, out=tmp_path / "out", note=told.append)))
        waiting.start()
        wait_until(lambda: told)
        assert not (tmp_path / "out").exists()
    join(waiting)
    assert paths == [tmp_path / "out"]


def test_a_full_cache_suggests_another_place_for_the_data(table, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("distbp.data.sizes._LARGE_BYTES", 1 << 20)

    def full(*given):
        raise DataError("it cannot be written") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("distbp.data.tables.stores.FileStore.append", full)
    with pytest.raises(
        DataError, match="cannot be written; set XDG_CACHE_HOME to a folder with room, or use distbp pre"
    ):
        load(table)
    assert list((tmp_path / "distbp").iterdir()) == []


def test_a_killed_process_keeps_nothing_of_the_cache_in_use(table, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("distbp.data.sizes._LARGE_BYTES", 1 << 20)
    assert run_program("killed_with_cached_data", table).returncode == -signal.SIGKILL
    (folder,) = (tmp_path / "distbp").iterdir()
    assert len(list(folder.glob(".used-*"))) == 1
    data = load(table)
    assert len(list(folder.glob(".used-*"))) == 1, "that of this process alone"
    with pytest.raises(HeldError, match=r"is in use: process .* reads it"):
        remove_prepared(folder, pytest.fail)
    del data
    assert list(folder.glob(".used-*")) == []
    remove_prepared(folder, pytest.fail)
    assert not folder.exists()
