"""Damage to prepared data is always detected and the file named."""

import json
import pickle
import random
import shutil
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from processes import HANG_SECONDS

import distbp
from distbp.data import load
from distbp.data.loading import load_rows
from distbp.data.prepared.checksums import CheckedArray, checked, checksums_of
from distbp.data.prepared.mapped import mapped, opened
from distbp.errors import DataError

SETTINGS = {"epochs": 1, "hidden": (4,), "workers": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path, rng = tmp_path_factory.mktemp("whole"), random.Random(1)
    with (path / "t.csv").open("w") as file:
        file.write("a,b,town,y,w\n")
        for k in range(200):
            file.write(f"{rng.gauss(0, 1):.4f},{rng.gauss(5, 2):.3f},{'UVW'[k % 3]},{rng.randrange(3)},{k % 4 + 1}\n")
    return distbp.prepare(path / "t.csv", target="y", weights="w", validation_fraction=0.1, out=path / "big")


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "big")


@pytest.fixture
def none_is_small(monkeypatch):
    monkeypatch.setattr("distbp.data.prepared.description._SMALL", 0)
    monkeypatch.setattr("distbp.data.prepared.checksums._BLOCK", 256)


def names_of(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_of_a_prepared_data_set(folder):
    assert names_of(folder) == [
        "dataset.json",
        "test-x.npy",
        "test-y.npy",
        "train-weights.npy",
        "train-x.npy",
        "train-y.npy",
        "validation-weights.npy",
        "validation-x.npy",
        "validation-y.npy",
    ]
    told = json.loads((folder / "dataset.json").read_text())
    assert told["blocks"].keys() == {name[:-4] for name in names_of(folder) if name.endswith(".npy")}


def test_any_flipped_bit_is_found(copy):
    """Other damage, too: truncated, longer, many changes. Whitespace in the JSON does not count."""
    rng, right = random.Random(2), load(copy).train.x.tobytes()
    for name in names_of(copy):
        whole = (copy / name).read_bytes()
        for turn in range(60):
            content = bytearray(whole)
            place = rng.randrange(len(whole))
            if turn % 6 == 0:
                content = content[:place]
            elif turn % 6 == 1:
                content[place:place] = bytes(rng.randrange(1, 9))
            else:
                content[place] ^= 1 << rng.randrange(8)
            (copy / name).write_bytes(content)
            try:
                assert load(copy).train.x.tobytes() == right
                assert name == "dataset.json"
                assert json.loads(content) == json.loads(whole)
            except DataError as error:
                assert "\n" not in str(error)
                assert f"{copy} is damaged" in str(error)
        (copy / name).write_bytes(whole)
    load(copy)


@pytest.mark.usefixtures("none_is_small")
def test_blocks_of_large_arrays_are_verified_on_first_use(copy, tmp_path):
    told = json.loads((copy / "dataset.json").read_text())
    from distbp.files.json_files import write_json

    del told["content_sha256"]
    write_json(
        copy / "dataset.json", {**told, "blocks": {name: checksums_of(copy / f"{name}.npy") for name in told["blocks"]}}
    )
    whole = distbp.train(copy, **SETTINGS).summary["weights_sha256"]
    content = bytearray((copy / "train-x.npy").read_bytes())
    content[-5] ^= 4
    (copy / "train-x.npy").write_bytes(content)
    data = load(copy)
    assert isinstance(data.train.x, CheckedArray)
    assert np.isfinite(data.train.x[:10, 0]).all()  # the blocks of these rows are intact
    for use in (
        lambda: distbp.train(copy, **SETTINGS),
        lambda: np.take(data.train.x, [len(data.train) - 1], axis=0),
        lambda: data.train.x[-1],
        lambda: data.train.x[np.arange(len(data.train)) > 3],
        lambda: checked(data.train.x),
        lambda: pickle.dumps(data.train.x),
        lambda: np.take(opened(pickle.loads(pickle.dumps(mapped(data.train.x)))), [len(data.train) - 1], axis=0),
    ):
        with pytest.raises(DataError, match=r"train-x\.npy is damaged within its bytes [\d,]+ to [\d,]+"):
            use()
    content[-5] ^= 4
    (copy / "train-x.npy").write_bytes(content)
    assert distbp.train(copy, **SETTINGS).summary["weights_sha256"] == whole
    content = bytearray((copy / "test-x.npy").read_bytes())
    content[-5] ^= 4
    (copy / "test-x.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"test-x\.npy is damaged"):
        load_rows(copy)


@pytest.mark.usefixtures("none_is_small")
def test_each_block_is_verified_once(tmp_path, rng, monkeypatch):
    array = rng.normal(size=(500, 7))
    np.save(tmp_path / "a.npy", array)
    rows = CheckedArray.of(tmp_path / "a.npy", checksums_of(tmp_path / "a.npy"))
    count = -(-(tmp_path / "a.npy").stat().st_size // 256)
    assert rows.blocks.unverified == count - 1
    out = np.empty((20, 7))
    while rows.blocks.unverified:
        indices, before = rng.integers(0, 500, 20), rows.blocks.unverified
        np.take(rows, indices, axis=0, out=out, mode="clip")
        assert (out == array[indices]).all()
        assert rows.blocks.unverified <= before
    monkeypatch.setattr("distbp.data.prepared.checksums.zlib.crc32", None)  # must not be called any more
    np.take(rows, np.arange(20), axis=0, out=out, mode="clip")
    assert checked(rows) is rows
    assert (rows[3:5] == array[3:5]).all()


def test_data_prepared_without_checksums_are_read(copy):
    told = json.loads((copy / "dataset.json").read_text())
    before = load(copy)
    del told["blocks"], told["content_sha256"]
    (copy / "dataset.json").write_text(json.dumps(told))
    notes = []
    data = load(copy, note=notes.append)
    assert (data.train.x == before.train.x).all()
    assert notes == [f"{copy} was prepared without checksums, so damage is not detected: prepare it again to have them"]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-y", [0, 1, 3], "train-y row 2 is 3, which is none of the class numbers 0..2"),
        ("test-y", [0, -1, 2], "test-y row 1 is -1, which is none of the class numbers 0..2"),
        ("train-y", [0.0, 1.0, 2.0], "train-y holds float64"),
        ("train-y", [[0], [1], [2]], "train-y holds int64 of shape"),
        ("train-x", [[1.0], [2.0], [3.0]], "train-x holds float64 of shape .*, expected 3 columns"),
        ("test-x", [[1, 2, 3]] * 3, "test-x holds int64"),
        ("train-weights", [1.0, -1.0, 1.0], "weights row 1 is -1"),
        ("train-weights", [1.0, np.nan, 1.0], "weights row 1"),
    ],
)
def test_arrays_without_checksums_must_fit_their_description(name, array, message, copy):
    told = json.loads((copy / "dataset.json").read_text())
    del told["blocks"], told["content_sha256"]
    (copy / "dataset.json").write_text(json.dumps(told))
    rows = told["rows"][name.split("-")[0]]
    array = np.array(array)
    np.save(copy / f"{name}.npy", np.concatenate([array, np.repeat(array[:1], rows - len(array), axis=0)]))
    with pytest.raises(DataError, match=f"big is damaged: {message}"):
        load(copy)


def test_blocks_verified_by_two_threads_count_once(tmp_path, monkeypatch):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((3 << 18, 1), np.float32))
    array = CheckedArray.of(path, checksums_of(path))
    both, crc32 = threading.Barrier(2), zlib.crc32

    def slow(block):
        both.wait(HANG_SECONDS)
        return crc32(block)

    monkeypatch.setattr("distbp.data.prepared.checksums.zlib", SimpleNamespace(crc32=slow))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: array.take([1 << 18], 0), range(2)))
    assert array.blocks.unverified == 2  # of four; the first was verified when the array was opened
