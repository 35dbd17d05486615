import gzip
import struct

import numpy as np
import pytest

from distbp.data import load
from distbp.data.formats.idx import read_idx
from distbp.errors import DataError

TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def idx(array, kind=8):
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.astype(TYPES[kind]).tobytes()


@pytest.fixture
def images(rng):
    """Return 12 training and 6 test images of 2 x 3 pixels in classes 0 to 2."""
    parts = {}
    for stem, rows in {"train": 12, "t10k": 6}.items():
        parts[f"{stem}-images-idx3-ubyte"] = rng.integers(0, 256, (rows, 2, 3), dtype=np.uint8)
        parts[f"{stem}-labels-idx1-ubyte"] = (np.arange(rows) % 3).astype(np.uint8)
    return parts


def write(folder, images, gzipped=False):
    folder.mkdir(exist_ok=True)
    for name, array in images.items():
        if gzipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return folder


@pytest.mark.parametrize("gzipped", [False, True])
def test_folder_is_read(gzipped, images, tmp_path):
    data = load(write(tmp_path / "small", images, gzipped))
    assert (data.name, data.task, data.classes) == ("small", "classification", (0, 1, 2))
    assert data.train.x.dtype == np.uint8
    assert data.train.x.tobytes() == images["train-images-idx3-ubyte"].tobytes()
    assert data.train.x.shape == (12, 6)
    assert data.test.y.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.train.factor == 1 / 255


def test_names_with_a_dot_are_recognised(images, tmp_path):
    dotted = {name.replace("-idx", ".idx"): array for name, array in images.items()}
    assert load(write(tmp_path / "dotted", dotted)).train.x.shape == (12, 6)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_of_number_is_read(kind, tmp_path):
    array = np.arange(6).reshape(3, 2)
    (tmp_path / "a").write_bytes(idx(array, kind))
    assert read_idx(tmp_path / "a").tolist() == array.tolist()


def test_floats_can_be_trained_on(images, tmp_path):
    write(tmp_path, images)
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        (tmp_path / name).write_bytes(idx(images[name] / 255, kind=14))
    data = load(tmp_path)
    assert data.train.x.dtype == np.float32
    assert (data.train.x == (images["train-images-idx3-ubyte"] / 255).astype(np.float32).reshape(12, 6)).all()


@pytest.mark.parametrize("length", range(0, 4 + 12 + 12, 3))
def test_truncated_file_is_refused(length, tmp_path):
    whole = idx(np.ones((2, 2, 3)))
    assert len(whole) == 4 + 12 + 12
    (tmp_path / "cut").write_bytes(whole[:length])
    with pytest.raises(DataError, match=r"cut is (no IDX file|truncated)|cut holds .* is the file complete"):
        read_idx(tmp_path / "cut")


def test_truncated_gzip_is_refused_at_every_length(tmp_path):
    whole = gzip.compress(idx(np.arange(100)))
    for length in range(len(whole)):
        (tmp_path / "cut.gz").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.gz (is no IDX file|cannot be read)"):
            read_idx(tmp_path / "cut.gz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no IDX file"),
        (b"PK\x03\x04 something", "is no IDX file: it begins with b'PK"),
        (b"\0\0\x07\x01\0\0\0\0", "is no IDX file"),
        (b"\0\0\x08\x03\0\0\0\x02\0\0", "is truncated within its header: 10 bytes"),
        (b"\0\0\x08\x01\0\0\0\x03ab", "holds 10 bytes, its header promises 11"),
        (b"\0\0\x08\x01\0\0\0\x03abcd", "holds more than 11 bytes, its header promises 11"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "holds 16 bytes, its header promises 79228162458924105385300197391"),
    ],
)
def test_wrong_header_is_refused(content, message, tmp_path):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / "bad")


@pytest.mark.parametrize("stem", ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"])
def test_missing_file_is_named(stem, images, tmp_path):
    write(tmp_path, images)
    (tmp_path / f"{stem}-ubyte").unlink()
    with pytest.raises(DataError, match=f"has no {stem}-ubyte .*must hold the four MNIST IDX files"):
        load(tmp_path)


def test_uncompressed_file_named_gz_is_refused(images, tmp_path):
    (tmp_path / "plain.gz").write_bytes(idx(np.ones((2, 2))))
    with pytest.raises(DataError, match=r"plain\.gz cannot be read: Not a gzipped file"):
        read_idx(tmp_path / "plain.gz")
