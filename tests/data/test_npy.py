"""NumPy files: every damaged header gives one line that names the file."""

import io
import zipfile

import numpy as np
import pytest

from distbp.data import load
from distbp.data.formats.npy import mapped_array, read_array
from distbp.errors import DataError

GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"


def file_of(text, content=b"\0" * 24, version=b"\x01\x00"):
    body = text.encode("latin-1")
    length = len(body).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + length + body + content


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "u1", "bool", "<U3", "S2", "<M8[s]", [("a", "<f4"), ("b", "<U2")]])
@pytest.mark.parametrize("shape", [(4, 3), (5,), (0, 3), ()])
def test_files_written_by_numpy_are_read(shape, dtype, order, tmp_path):
    array = np.ones(shape, dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    for found in (mapped_array(tmp_path / "a.npy"), read_array(*opened(tmp_path / "a.npy"))):
        assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


def opened(path):
    content = path.read_bytes()
    return io.BytesIO(content), len(content)


@pytest.mark.parametrize("version", [(2, 0), (3, 0)])
def test_other_versions_are_read(version, tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, np.arange(6.0).reshape(2, 3), version=version)
    assert mapped_array(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_shapes_written_by_python_2_are_read(tmp_path):
    (tmp_path / "a.npy").write_bytes(file_of(GOOD.replace("(2, 3)", "(2L, 3L)")))
    assert mapped_array(tmp_path / "a.npy").shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (file_of(GOOD.replace("}", "")), "its header is damaged"),
        (file_of("{'descr': '<f4', 'shape': (((((((((2, 3)"), "its header is damaged"),
        (file_of("'" * 3), "its header is damaged"),
        (file_of("[" * 60_000), "its header is damaged"),
        (file_of("-" * 60_000 + "1"), "its header is damaged"),
        (file_of("{'a': 1}"), "its header does not hold descr"),
        (file_of("[1, 2]"), "its header does not hold descr"),
        (file_of(GOOD.replace("2, 3", "2, -3")), "its header holds the shape"),
        (file_of(GOOD.replace("2, 3", "2, 3.0")), "its header holds the shape"),
        (file_of(GOOD.replace("2, 3", "True, 3")), "its header holds the shape"),
        (file_of(GOOD.replace("2, 3", "1" * 4000 + ", 3")), "its header holds the shape"),
        (file_of(GOOD.replace("2, 3", "1, " * 40)), "its header holds the shape"),
        (file_of(GOOD.replace("2, 3", "99999999999, 99999999999")), "its header promises"),
        (file_of(GOOD.replace("False", "0")), "its header holds fortran_order"),
        (file_of(GOOD.replace("'<f4'", "'<f99'")), "its header is damaged"),
        (file_of(GOOD.replace("'<f4'", "[('a', '<f4'), ('a', '<f4')]")), "name already used"),
        (file_of(GOOD.replace("'<f4'", "'<U99999999999999999999'")), "its header is damaged"),
        (file_of(GOOD.replace("'<f4'", "'<U0'")), "its header holds the type"),
        (file_of(GOOD.replace("'<f4'", "('<f4', (2,))")), "its header holds the type"),
        (file_of(GOOD.replace("'<f4'", "'|O'")), "it holds Python objects, which are not loaded"),
        (file_of(GOOD.replace("'<f4'", "[('a', '|O')]")), "it holds Python objects"),
        (file_of(GOOD)[:30], "it is truncated within its header"),
        (file_of(GOOD, b"\0" * 23), "promises"),
        (file_of(GOOD, b"\0" * 25), "promises"),
        (file_of(GOOD, version=b"\x04\x00"), "of version 04.00"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 100, "promises 2,147,483,647 bytes of itself"),
        (b"\x93NUMPY", "it is none"),
        (b"", "it is none"),
        (b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x07anykey", "it is none"),
    ],
)
def test_a_damaged_header_gives_one_line(content, message, tmp_path):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npy cannot be read as a NumPy array: .*" + message) as caught:
        mapped_array(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(tmp_path)) + 250
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X.npy", content)
    with pytest.raises(DataError, match=r"a\.npz cannot be read as a NumPy archive: X\.npy: .*" + message) as caught:
        load(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [0x110000, 0xFFFFFFFF, 0xD800])
def test_invalid_text_is_refused_with_its_row(code, tmp_path):
    table = np.zeros(30, [("n", "<U3"), ("y", "<i4")])
    table["n"], table["y"] = "ab", np.arange(30) % 2
    table.view(np.uint8).reshape(30, -1)[17, :4] = np.array([code], "<u4").view(np.uint8)
    np.save(tmp_path / "a.npy", table)
    with pytest.raises(DataError, match=r"a\.npy column 'n' row 17 holds an invalid character"):
        load(tmp_path / "a.npy", target="y")
    np.savez(tmp_path / "y.npz", X=np.ones((30, 2)), y=table["n"])
    with pytest.raises(DataError, match="row 17 holds an invalid character"):
        load(tmp_path / "y.npz")
    np.savez(tmp_path / "x.npz", X=np.column_stack([table["n"], table["n"]]), y=table["y"])
    with pytest.raises(DataError, match=r"x_train row \d+ holds an invalid character"):
        load(tmp_path / "x.npz")
