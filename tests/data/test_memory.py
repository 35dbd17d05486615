"""Memory stays bounded: files too large for it are refused with both sizes, others are read in parts."""

import gzip
import shutil
import struct

import numpy as np
import pytest
from processes import run_program

import distbp
from distbp.data import load, prepare
from distbp.data.memory import check_memory
from distbp.data.sizes import _size, is_large
from distbp.errors import DataError
from distbp.system.memory import free_memory


def in_a_child(code):
    """Evaluate an expression in a new process; return its output and the growth of its memory in MB."""
    done = run_program("measures_memory", code)
    assert done.returncode == 0, done.stderr
    *said, grown = done.stdout.splitlines()
    return "\n".join(said), int(grown)


def idx(*shape, content=b""):
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


@pytest.fixture
def folder(tmp_path):
    for part, rows in (("train", 20), ("t10k", 10)):
        pixels = bytes(rows * 16)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(rows, 4, 4, content=pixels))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(rows, content=bytes(k % 2 for k in range(rows))))
    return tmp_path


def test_an_idx_file_that_would_fill_the_memory_is_refused(folder):
    plain = folder / "train-images-idx3-ubyte"
    plain.unlink()
    packed = folder / "train-images-idx3-ubyte.gz"
    with gzip.open(packed, "wb", 1) as file:
        file.write(idx(3 << 20, 32, 32))
        for _ in range(64):
            file.write(bytes(1 << 20))
    said, grown = in_a_child(f"load({str(folder)!r})")
    assert said.startswith(f"DataError {packed} is refused: ")
    assert "bytes would become 3,221,225,472" in said
    assert grown < 100


@pytest.mark.parametrize("promised", [(1 << 31, 1 << 31, 4), (1 << 20, 64, 64), (21, 4, 4), (19, 4, 4)])
def test_an_idx_file_of_wrong_length_is_refused_before_it_is_read(promised, folder):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(idx(*promised, content=bytes(320)))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte holds (more than )?\d+ bytes, its header promises"):
        load(folder)


def test_the_size_of_a_gzipped_table_is_that_of_its_content(tmp_path, monkeypatch):
    """This includes a file of several members, whose last bytes give the size of only the last member."""
    row = b"1.5,2.25,abc,x\n1.75,3.5,klm,y\n"
    with gzip.open(tmp_path / "t.csv.gz", "wb") as file:
        file.write(b"a,b,c,label\n" + row * 20_000)
    with (tmp_path / "t.csv.gz").open("ab") as file:
        for _ in range(2):
            file.write(gzip.compress(row * 20_000))
    assert (tmp_path / "t.csv.gz").stat().st_size < 50_000
    in_memory = load(tmp_path / "t.csv.gz", target="label")
    monkeypatch.setattr("distbp.data.sizes._LARGE_BYTES", 1 << 20)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert is_large([tmp_path / "t.csv.gz"])
    notes = []
    data = load(tmp_path / "t.csv.gz", target="label", note=notes.append)
    assert isinstance(data.train.x, np.memmap)
    assert (data.train.x == in_memory.train.x).all()
    assert any("is large: it is read once into" in note for note in notes)


def test_the_size_of_a_parquet_file_is_that_of_its_numbers(tmp_path, monkeypatch):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("distbp.data.sizes._LARGE_BYTES", 8 << 20)
    rows = 1 << 20  # a constant column takes almost no space in the file
    table = pa.table(
        {name: pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), [1.0]) for name in "abcd"}
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 1 << 20
    assert is_large([tmp_path / "t.parquet"])
    assert is_large([tmp_path])


def test_a_row_group_is_read_in_parts(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rng = np.random.default_rng(0)
    columns = {f"c{k}": rng.random(1_000_000) for k in range(16)}
    parquet.write_table(
        pa.table({**columns, "y": np.arange(1_000_000) % 2}),
        tmp_path / "t.parquet",
        row_group_size=1_000_000,
        compression="none",
        use_dictionary=False,
    )
    size = (tmp_path / "t.parquet").stat().st_size >> 20
    path = f"__import__('pathlib').Path({str(tmp_path / 't.parquet')!r})"
    said, grown = in_a_child(f"sum(b.rows.num_rows for b in formats.typed.parquet_table({path}).blocks())")
    assert said == "1000000"
    assert size > 120
    assert grown < 100


@pytest.fixture
def pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name in "ab":
        (tmp_path / name).mkdir()
        for k in range(20):
            if k or name == "b":
                shutil.copy(tmp_path / "a" / "0.png", tmp_path / name / f"{k}.png")
            else:
                image.new("L", (2000, 2000)).save(tmp_path / name / f"{k}.png")
    return tmp_path


def test_large_images_are_read_a_few_at_a_time(pictures):
    said, grown = in_a_child(f"load({str(pictures)!r}).train.x.shape")
    assert said == "(32, 4000000)"
    assert grown < 40 * 4 * 3 + 100  # MB: images as read, as rows, and split into parts


def test_images_larger_than_the_memory_are_refused(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("distbp.data.memory.free_memory", lambda: 500_000_000)
    what = r"with 40 rows of 4,000,004 bytes would take \d\.\d GB of memory, of which 0\.5 GB are free: .* fewer pixels"
    with pytest.raises(DataError, match=what):
        load(pictures)
    with pytest.raises(DataError, match=what):
        prepare(pictures, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    np.savez(tmp_path / "t.npz", X=np.ones((1000, 300)), y=np.arange(1000) % 2, other=np.ones(10**6))
    monkeypatch.setattr("distbp.data.memory.free_memory", lambda: 4_000_000)
    with pytest.raises(DataError, match=r"t\.npz would take 0\.0 GB of memory, of which 0\.0 GB are free"):
        load(tmp_path / "t.npz")


def test_a_memory_limit_of_the_process_is_respected(tmp_path):
    done = run_program("limits_memory")
    assert 0 < int(done.stdout) < 4 << 30, done.stderr
    check_memory(free_memory() // 2, "half of it", "")
    with pytest.raises(DataError, match="all of it would take"):
        check_memory(10 * free_memory(), "all of it", "buy some")


def test_the_size_of_a_damaged_file_is_that_of_its_readable_part(tmp_path):
    content = gzip.compress(np.random.default_rng(0).bytes(5 << 20))
    (tmp_path / "t.csv.gz").write_bytes(content[: len(content) // 2])
    assert 2 << 20 <= _size(tmp_path / "t.csv.gz", 1, 1, 1 << 30) <= 3 << 20


def test_rows_too_wide_for_a_network_are_refused_before_a_run(rng, monkeypatch, tmp_path):
    monkeypatch.setattr("distbp.data.memory.free_memory", lambda: 1_000_000)
    with pytest.raises(DataError, match=r"80 rows of 5,000 inputs at a time would take 0\.0 GB of memory"):
        distbp.train((rng.normal(size=(100, 5000)), np.arange(100) % 2), workers=0, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
