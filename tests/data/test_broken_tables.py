"""A broken table gives one line that names file, row and column, and leaves nothing behind."""

import gzip
import struct
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distbp.data import load, prepare
from distbp.errors import DataError

ROWS = [f"{k * 0.5},{'a' if k % 3 else 'b'},{k % 2}" for k in range(200)]


def text(path, changed=(), head="x,c,y", rows=ROWS):
    rows = list(rows)
    for row, line in changed:
        rows[row] = line
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ([(57, "1.0,a")], "t.csv row 58 has 2 cells, expected 3"),
        ([(57, "1.0,a,1,7")], "t.csv row 58 has 4 cells, expected 3"),
        ([(100, "abc,a,1")], "t.csv row 101 column 'x' is 'abc': expected a number"),
        ([(3, "inf,a,1")], "t.csv row 4 column 'x' is inf: expected a finite number"),
        ([(31, "1.0,a,")], "t.csv row 32 column 'y' is missing: every row needs a target"),
        ([(31, "1.0,a,-1e300")], r"row 32 column 'y' is -1e\+300: expected at most 1e\+150 in size; correct it"),
        ([(k, f"{k},a,1") for k in range(200)], r"all training rows are of class 1 \(column 'y'\)"),
    ],
)
def test_mistakes_are_named(changed, message, tmp_path):
    text(tmp_path / "t.csv", changed)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "t.csv")
    with pytest.raises(DataError, match=message):
        prepare(tmp_path / "t.csv", out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"], "nothing half-written stays"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.csv is empty"),
        (b"x,y\n", "t.csv holds no rows below its header"),
        (b"x,x,y\n1,2,0\n2,3,1\n", "t.csv has 2 columns called 'x'"),
        ("x,y\n1,0\né,1\n".encode("latin-1"), "t.csv row 2 column 'x' is not UTF-8 text"),
        ("x,y\n1,0\n".encode("utf-16"), "t.csv is UTF-16 text: save the file as UTF-8"),
        (b"a,b\n1,2\n3,4\n", "no column called target, label, class or y: name .* there are a, b"),
        (b"1" * 300_000, "t.csv is no table of text"),
    ],
)
def test_files_that_are_not_tables_are_refused(content, message, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "t.csv")
    with pytest.raises(DataError, match=message):
        prepare(tmp_path / "t.csv", out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"], "nothing half-written stays"


def test_bad_number_far_down_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("distbp.data.formats.text._BLOCK", 1 << 16)  # the bad number is in the eleventh block
    lines = b"1.25,0\n2.5,1\n" * 50_000
    (tmp_path / "long.csv").write_bytes(b"x,y\n" + lines + b"bad,1\n" + lines[:1300])
    with pytest.raises(DataError, match=r"long.csv row 100001 column 'x' is 'bad': expected a number"):
        load(tmp_path / "long.csv")


def test_a_class_that_only_the_test_file_has_is_named(tmp_path):
    text(tmp_path / "a.csv", rows=[f"{k},a,{'yes' if k % 2 else 'no'}" for k in range(50)])
    text(tmp_path / "b.csv", rows=["1,a,yes", "2,a,maybe"])
    with pytest.raises(DataError, match=r"b.csv row 2 column 'y' is 'maybe', which is none of .* 'no', 'yes'"):
        load(tmp_path / "a.csv", test_file=tmp_path / "b.csv")


def test_nested_columns_are_refused_unless_dropped(tmp_path):
    pq.write_table(pa.table({"x": [1.0, 2, 3, 4] * 5, "n": [[1]] * 20, "y": [0, 1] * 10}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet column 'n' holds list.*--drop n"):
        load(tmp_path / "t.parquet")
    assert load(tmp_path / "t.parquet", drop=["n"]).features


def test_python_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "t.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"t.npy .*Python objects, which are not loaded because they could run code"):
        load(tmp_path / "t.npy", target=0)


def test_truncated_files_are_refused(tmp_path):
    whole = gzip.compress(text(tmp_path / "t.csv").read_bytes())
    (tmp_path / "t.csv.gz").write_bytes(whole[:-200])
    with pytest.raises(DataError, match=r"t.csv.gz cannot be read: .*is the file complete"):
        load(tmp_path / "t.csv.gz")
    pq.write_table(pa.table({"x": [1.0], "y": [0]}), tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-9])
    with pytest.raises(DataError, match=r"t.parquet cannot be read as Parquet"):
        load(tmp_path / "t.parquet")


def test_image_bombs_are_refused(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"0" * 99)))
    with pytest.raises(DataError, match=r"0.png is refused: it would take up more memory"):
        load(tmp_path)


def test_archive_bombs_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("X.npy", "w") as file:
        for _ in range(1100):
            file.write(bytes(1 << 20))
    with pytest.raises(DataError, match=r"t.npz is refused: .* bytes would become 1,153,433,600"):
        load(tmp_path / "t.npz")


def test_gzip_bombs_are_refused_at_the_longest_allowed_row(tmp_path, monkeypatch):
    monkeypatch.setattr("distbp.data.formats.text._BLOCK", 1 << 20)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"x,y\n1,0\n2,1\n" + b"1" * (8 << 20)))
    with pytest.raises(DataError, match=r"t.csv.gz has a row of over 1 MB"):
        load(tmp_path / "t.csv.gz")
