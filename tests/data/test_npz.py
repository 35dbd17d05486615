import zipfile

import numpy as np
import pytest

from distbp.data import load
from distbp.data.formats.npz import read_npz
from distbp.errors import DataError


@pytest.fixture
def arrays(rng):
    return {
        "x_train": rng.random((8, 3)),
        "y_train": np.arange(8) % 2,
        "x_test": rng.random((4, 3)),
        "y_test": np.arange(4) % 2,
    }


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archive_with_a_test_part_is_read(save, arrays, tmp_path):
    save(tmp_path / "four.npz", **arrays, other=np.ones(3))
    data = load(tmp_path / "four.npz", dtype="float64")
    assert data.train.x.tobytes() == arrays["x_train"].tobytes()
    assert data.train.y.tolist() == arrays["y_train"].tolist()
    assert data.test.x.tobytes() == arrays["x_test"].tobytes()
    assert data.test.y.tolist() == arrays["y_test"].tolist()


@pytest.mark.parametrize("name", ["X", "x"])
def test_archive_without_a_test_part_is_split(name, rng, tmp_path):
    np.savez(tmp_path / "two.npz", **{name: rng.random((20, 3)), "y": np.arange(20) % 2})
    data = load(tmp_path / "two.npz", test_fraction=0.25)
    assert (len(data.train), len(data.test)) == (15, 5)


def test_pixels_stay_bytes(tmp_path):
    np.savez(tmp_path / "pixels.npz", X=np.full((10, 2, 3), 255, np.uint8), y=np.arange(10) % 2)
    data = load(tmp_path / "pixels.npz")
    assert (data.train.x.dtype, data.train.factor, data.features) == (np.uint8, 1 / 255, 6)


def test_archive_truncated_anywhere_is_refused(arrays, tmp_path):
    path = tmp_path / "cut.npz"
    np.savez(path, X=arrays["x_train"], y=arrays["y_train"])
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.npz cannot be read as a NumPy archive"):
            read_npz(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archive_with_a_flipped_bit_is_refused_or_harmless(save, arrays, tmp_path):
    path = tmp_path / "flipped.npz"
    save(path, X=arrays["x_test"], y=arrays["y_test"])
    whole, right = path.read_bytes(), read_npz(path)
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            read = read_npz(path)
        except DataError:
            refused += 1
        else:
            assert all((array == right[part]).all() for part, array in read.items())
    assert refused > len(whole) / 3


@pytest.mark.parametrize("part", ["X", "y"])
def test_object_arrays_are_refused(part, arrays, tmp_path):
    archive = {"X": arrays["x_train"], "y": arrays["y_train"]}
    np.savez(tmp_path / "objects.npz", **(archive | {part: np.array([{}] * 8)}))
    with pytest.raises(DataError, match="it holds Python objects, which are not loaded because they could run code"):
        load(tmp_path / "objects.npz")


def test_text_named_npz_is_not_read_as_python_objects(tmp_path):
    (tmp_path / "text.npz").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"text\.npz cannot be read as a NumPy archive") as caught:
        load(tmp_path / "text.npz")
    assert "Python objects" not in str(caught.value)


def test_single_array_is_refused(tmp_path):
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.ones((3, 2)))
    with pytest.raises(DataError, match="holds a single array"):
        load(tmp_path / "one.npz")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["X"], "holds x: expected x_train, y_train .. or X and y"),
        (["a", "b"], "holds no known array"),
        (["x_train"], "holds x_train but no y_train"),
    ],
)
def test_archive_without_a_required_array_is_refused(names, message, tmp_path):
    np.savez(tmp_path / "few.npz", **{name: np.ones((4, 2)) for name in names})
    with pytest.raises(DataError, match=message):
        load(tmp_path / "few.npz")


def test_zip_without_arrays_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("X.npy", "no array")
        archive.writestr("y.npy", b"\x93NUMPY")
    with pytest.raises(DataError, match=r"other\.npz"):
        load(tmp_path / "other.npz")
