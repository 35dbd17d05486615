"""Randomly damaged files of every format give data or one line that names the file, and nothing else.

Hypothesis draws the same cases each time. Memory is limited to the needs of a few small files.
"""

import gzip
import io
import resource
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import distbp
from distbp.data import load
from distbp.errors import DistbpError

CASES = settings(max_examples=120, suppress_health_check=list(HealthCheck))
ROOM = 2 << 30


@pytest.fixture(autouse=True, scope="module")
def limited():
    """Limit the additional memory of a case: a MemoryError would not be a DataError."""
    pytest.importorskip("pyarrow.parquet")
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, before[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distbp.data.formats.text._BLOCK", 1 << 16)  # must be patched for each case
        yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@st.composite
def damages(draw):
    """Draw a function that flips a bit or sets, inserts, deletes, cuts, repeats or appends bytes."""
    kind = draw(st.sampled_from(["flip", "set", "insert", "delete", "cut", "repeat", "append"]))
    place = draw(st.floats(0, 1, exclude_max=True))
    near = draw(st.booleans())  # near the beginning, where headers are
    extra = draw(
        st.binary(min_size=1, max_size=9) | st.sampled_from([b"\xff" * 8, b"\0" * 8, b"'" * 3, b"((((", b"9" * 40])
    )
    bit = draw(st.integers(0, 7))

    def damaged(content):
        at = int(place * (min(len(content), 128) if near else len(content)))
        changed = bytearray(content)
        if kind == "flip":
            changed[at] ^= 1 << bit
        elif kind == "set":
            changed[at : at + len(extra)] = extra
        elif kind == "insert":
            changed[at:at] = extra
        elif kind == "delete":
            del changed[at : at + len(extra)]
        elif kind == "cut":
            del changed[at:]
        elif kind == "repeat":
            changed[at:at] = changed[max(0, at - 40) : at]
        else:
            changed += extra
        return bytes(changed)

    return damaged


def read(path, name, **reading):
    """Check that reading gives finite numbers or an error of one line that names the file."""
    try:
        data = load(path, **reading)
    except DistbpError as error:
        assert "\n" not in str(error)
        assert name in str(error)
        assert len(str(error)) < 600
        return None
    x = np.asarray(data.train.x)
    if data.preprocessing is None and x.dtype.kind == "f":
        assert np.isfinite(x).all()
    return data


def npy_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


RNG = np.random.default_rng(0)
PLAIN = np.column_stack([RNG.normal(size=(40, 3)), np.arange(40) % 2]).astype("f4")
FIELDS = np.zeros(40, [("a", "f4"), ("n", "U3"), ("s", "S3"), ("3", "i4")])
FIELDS["a"], FIELDS["n"], FIELDS["s"], FIELDS["3"] = PLAIN[:, 0], "ab", b"xy", np.arange(40) % 2


@CASES
@given(damage=damages(), array=st.sampled_from([PLAIN, np.asfortranarray(PLAIN), PLAIN.astype(">f8"), FIELDS]))
def test_npy(damage, array, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "d.npy"
    path.write_bytes(damage(npy_bytes(array)))
    read(path, "d.npy", target=3)


@CASES
@given(damage=damages(), inside=st.booleans(), names=st.sampled_from([("X", "y"), ("X", "n")]))
def test_npz(damage, inside, names, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "d.npz"
    members = {"X": PLAIN[:, :3], "y": PLAIN[:, 3].astype(int), "n": np.array(["p", "q"] * 20)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(names):
            content = npy_bytes(members[name])
            archive.writestr(f"{'Xy'[number]}.npy", damage(content) if inside and number else content)
    path.write_bytes(file.getvalue() if inside else damage(file.getvalue()))
    read(path, "")  # messages about rows name only the array


@CASES
@given(damage=damages(), packed=st.booleans(), part=st.integers(0, 3))
def test_idx(damage, packed, part, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "idx"
    folder.mkdir(exist_ok=True)
    for number, (name, shape) in enumerate(
        {
            "train-images-idx3": (40, 3, 3),
            "train-labels-idx1": (40,),
            "t10k-images-idx3": (9, 3, 3),
            "t10k-labels-idx1": (9,),
        }.items()
    ):
        content = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
        content += (np.arange(np.prod(shape)) % 2).astype("u1").tobytes()
        content = damage(content) if number == part else content
        for ending in ("", ".gz"):
            (folder / f"{name}-ubyte{ending}").unlink(missing_ok=True)
        (folder / f"{name}-ubyte{'.gz' * packed}").write_bytes(gzip.compress(content, 1) if packed else content)
    read(folder, "")


TOWNS = ["Ulm", "Bonn", "Köln"]
TABLE = "size,town,when,flag,y\n" + "".join(
    f"{k * 1.5},{TOWNS[k % 3]},2026-01-{k % 28 + 1:02d},{'true' if k % 5 else 'false'},{'ab'[k % 2]}\n"
    for k in range(40)
)


@CASES
@given(damage=damages(), form=st.sampled_from([",", ";", "\t", "gz", "gz inside"]))
def test_csv(damage, form, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / ("d.csv.gz" if form.startswith("gz") else "d.csv")
    content = TABLE.replace(",", form if len(form) == 1 else ",").encode()
    content = gzip.compress(damage(content)) if form == "gz inside" else content
    path.write_bytes(damage(gzip.compress(content)) if form == "gz" else content if "gz" in form else damage(content))
    read(path, "d.csv", target="y")


@CASES
@given(damage=damages(), compression=st.sampled_from(["none", "snappy", "zstd"]), footer=st.booleans())
def test_parquet(damage, compression, footer, tmp_path_factory):
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as parquet

    path = tmp_path_factory.getbasetemp() / "d.parquet"
    file = io.BytesIO()
    parquet.write_table(pa_csv.read_csv(pa.py_buffer(TABLE.encode())), file, compression=compression, row_group_size=16)
    content = file.getvalue()
    if footer:
        length = struct.unpack("<I", content[-8:-4])[0]
        end = damage(content[-8 - length : -8])
        content = content[: -8 - length] + end + struct.pack("<I", len(end)) + b"PAR1"
    else:
        content = damage(content)
    path.write_bytes(content)
    read(path, "", target="y")


@CASES
@given(damage=damages(), form=st.sampled_from(["PNG", "JPEG"]), mode=st.sampled_from(["L", "RGB", "P", "1"]))
def test_images(damage, form, mode, tmp_path_factory):
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.getbasetemp() / "pictures"
    if form == "JPEG" and mode == "P":
        mode = "CMYK"
    file = io.BytesIO()
    image.fromarray(np.arange(64, dtype="u1").reshape(8, 8)).convert(mode).save(file, form)
    for name in "ab":
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(3):
            content = file.getvalue()
            if (name, number) == ("b", 1):
                content = damage(content)
                content = _with_correct_checksums(content) if form == "PNG" else content
            (folder / name / f"{number}.png").write_bytes(content)
    read(folder, "1.png")


def _with_correct_checksums(content):
    """Return a damaged PNG with corrected checksums, so that the damage reaches the decoder."""
    out, at = content[:8], 8
    while at + 12 <= len(content):
        length = struct.unpack(">I", content[at : at + 4])[0]
        if at + 12 + length > len(content):
            break
        chunk = content[at + 4 : at + 8 + length]
        out += content[at : at + 4] + chunk + struct.pack(">I", zlib.crc32(chunk))
        at += 12 + length
    return out + content[at:]


@CASES
@given(damage=damages(), number=st.integers(0, 4))
def test_prepared(damage, number, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "prepared"
    if not folder.exists():
        (folder.parent / "d.csv").write_text(TABLE)
        distbp.prepare(folder.parent / "d.csv", target="y", out=folder)
    right = load(folder)
    path = sorted(folder.iterdir())[number]
    content = path.read_bytes()
    path.write_bytes(damage(content))
    try:
        found = read(folder, "prepared is damaged")
        if found is not None:
            assert found.preprocessing == right.preprocessing
            for part in ("train", "test"):
                assert getattr(found, part).x.tobytes() == getattr(right, part).x.tobytes()
                assert getattr(found, part).y.tobytes() == getattr(right, part).y.tobytes()
    finally:
        path.write_bytes(content)
