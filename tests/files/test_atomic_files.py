import errno
import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from distbp.errors import RunError
from distbp.files.atomic import atomic_write, remove_partial_files
from distbp.files.json_files import read_json, write_json
from distbp.files.tensors import read_tensors, write_tensors


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_when_the_block_ends(tmp_path):
    with atomic_write(tmp_path / "a") as beside:
        beside.write_text("new")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_text() == "new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_block_that_raises_leaves_no_partial_file(error, tmp_path):
    with pytest.raises(error), atomic_write(tmp_path / "a") as beside:
        beside.write_text("half")
        raise error
    assert names(tmp_path) == []


def test_block_that_raises_does_not_change_the_old_file(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(RunError, match="a cannot be written: full"), atomic_write(tmp_path / "a") as beside:
        beside.write_text("half")
        raise OSError(28, "full")
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("parent", ["nowhere", "file"])
def test_file_in_a_path_that_is_not_a_folder_cannot_be_written(parent, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"a\.json cannot be written"):
        write_json(tmp_path / parent / "a.json", {})
    with pytest.raises(RunError, match=r"a\.safetensors cannot be written"):
        write_tensors(tmp_path / parent / "a.safetensors", {"w": np.ones(2)})


def test_json_is_read_as_written(tmp_path):
    content = {"a": [1, 2.5, None], "b": {"ü": "é"}}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_never_contains_nan(number, tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"cost": number})
    assert names(tmp_path) == []


def test_tensors_and_texts_are_read_as_written(tmp_path, rng):
    tensors = {"a": rng.random((3, 4)).T, "b": np.arange(5, dtype=np.float32)}
    write_tensors(tmp_path / "a", tensors, {"step": "7"})
    found, texts = read_tensors(tmp_path / "a")
    assert texts == {"step": "7"}
    assert found.keys() == tensors.keys()
    assert all(found[name].tobytes() == tensors[name].tobytes() for name in tensors)


@pytest.mark.parametrize("read", [read_json, read_tensors])
@pytest.mark.parametrize("content", [None, b"", b"no such format \xff"])
def test_missing_or_damaged_file_is_refused(read, content, tmp_path):
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    with pytest.raises(RunError, match=r"a (cannot be read|does not exist)"):
        read(tmp_path / "a")


def test_devices_and_pipes_are_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(tmp_path / "pipe") as place, place.open("w") as file:
        file.write("through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_arrays_and_texts_have_the_mode_given_by_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        write_tensors(tmp_path / "a.safetensors", {"w": np.ones(3)})
        write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~umask}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_files_are_written_even_if_folders_cannot_be_flushed(number, tmp_path, monkeypatch):
    flush = os.fsync

    def flush_files_alone(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        flush(handle)

    monkeypatch.setattr(os, "fsync", flush_files_alone)
    if number == errno.EIO:
        with pytest.raises(RunError, match="cannot be written: Input/output error"):
            write_json(tmp_path / "a.json", {})
        return
    write_json(tmp_path / "a.json", {"a": 1})
    write_tensors(tmp_path / "a.safetensors", {"w": np.ones(3)})
    assert names(tmp_path) == ["a.json", "a.safetensors"]


def test_only_partial_files_of_ended_processes_are_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = {pid: f".model.json.{pid}.partial" for pid in (os.getpid(), ended.pid, 2**64)}
    others = (".model.json.partial", ".model.json.x.partial", f".other.json.{ended.pid}.partial", "model.json")
    for name in (*left.values(), *others):
        (tmp_path / name).touch()
    remove_partial_files(tmp_path / "model.json")
    assert names(tmp_path) == sorted([*others, left[os.getpid()]])
