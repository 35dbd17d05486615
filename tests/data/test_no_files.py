"""Pipes, devices and sockets instead of files are refused at once; reading them could block for ever."""

import os
import socket

import numpy as np
import pytest

import distbp
from distbp.data import load
from distbp.errors import DataError, UsageError


def put(path, kind):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            os.chdir(path.parent)
            server.bind(path.name)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path.name)
    else:
        path.mkdir()


KINDS = ["pipe", "socket", "device", "loop", "folder"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz", "d.npz", "d.npy", "d.parquet", "d.arff", "d"])
def test_as_data(name, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / name, kind)
    with pytest.raises((DataError, UsageError), match=rf"\bd({name[1:]})?\b") as caught:
        load(tmp_path / name, target="y")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_as_test_file(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,y\n" + "1,0\n2,1\n" * 20)
    put(tmp_path / "test.csv", kind)
    with pytest.raises((DataError, UsageError), match=r"test\.csv"):
        load(tmp_path / "t.csv", target="y", test_file=str(tmp_path / "test.csv"))


@pytest.mark.parametrize("kind", KINDS)
def test_among_images(kind, tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / name).mkdir()
        for k in range(4):
            image.new("L", (4, 4)).save(tmp_path / name / f"{k}.png")
    put(tmp_path / "a" / "2x.png", kind)
    with pytest.raises(DataError, match=r"2x\.png cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_among_parquet_files(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "part.parquet", kind)
    with pytest.raises(DataError, match=r"part\.parquet cannot be read"):
        load(tmp_path, target="y")


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_prepared_data_set(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,y\n" + "1,0\n2,1\n" * 20)
    folder = distbp.prepare(tmp_path / "t.csv", target="y", out=tmp_path / "big")
    for name in ("train-y.npy", "dataset.json"):
        (folder / name).unlink()
        put(folder / name, kind)
        with pytest.raises(DataError, match=r"big(/train-y.npy)? "):
            load(folder)


def test_no_rows_in_memory():
    for x, y in (
        (np.zeros((0, 3)), np.zeros(0, int)),
        (np.zeros((0, 3)), np.zeros(0)),
        (np.zeros((0, 0)), np.zeros(0)),
    ):
        with pytest.raises(DataError, match="the given part has no rows: expected at least one"):
            load((x, y))
