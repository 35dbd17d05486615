"""A job sends exactly the files that would be read locally, and the cluster verifies them on arrival."""

import json
import os
import shutil
import stat
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from distbp.data import upload
from distbp.data.fingerprint import data_fingerprint
from distbp.data.loading import load
from distbp.data.upload import check_arrived, pack
from distbp.errors import DataError, UsageError

GIB = 1 << 30


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """Write a folder of three Parquet files of 20 rows each."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    made = tmp_path / "pq"
    made.mkdir()
    for k in range(3):
        a = np.random.default_rng(k).normal(size=20)
        pq.write_table(pa.table({"a": a, "y": np.where(a > 0, "p", "q")}), made / f"part-{k}.parquet")
    return made


def arrived(tmp_path: Path, *sources: object) -> tuple[Path, list[str], str]:
    """Unpack an upload of sources into another folder in the way of Ray."""
    packaging = pytest.importorskip("ray._private.runtime_env.packaging")
    archive, there = tmp_path / "data.zip", tmp_path / "there"
    names, digest = pack([str(each) for each in sources], archive)
    packaging.unzip_package(str(archive), str(there), remove_top_level_directory=False, unlink_zip=True)
    check_arrived(there, digest)
    return there, names, digest


def ignored(folder: Path) -> None:
    """Add a .gitignore as DVC writes it next to its data."""
    (folder / ".gitignore").write_text("/part-2.parquet\n*\n")
    (folder / ".rayignore").write_text("part-*\n")


def linked_file(folder: Path) -> None:
    """Replace a file by a link, as the Hugging Face cache and git-annex do."""
    (folder.parent / "blobs").mkdir()
    (folder / "part-2.parquet").rename(folder.parent / "blobs" / "abc123")
    (folder / "part-2.parquet").symlink_to("../blobs/abc123")


def hidden_remains(folder: Path) -> None:
    shutil.copy(folder / "part-0.parquet", folder / ".part-3.parquet")
    (folder / ".dvc" / "cache").mkdir(parents=True)
    shutil.copy(folder / "part-0.parquet", folder / ".dvc" / "cache" / "part-9.parquet")
    (folder / "empty").mkdir()


def old_times(folder: Path) -> None:
    """Set times to 0, as some stores do; zip has no times before 1980."""
    os.utime(folder / "part-1.parquet", (1, 1))


@pytest.mark.parametrize("change", [ignored, linked_file, hidden_remains, old_times])
def test_all_rows_arrive_from_folders_with_unusual_files(parquet, tmp_path, change):
    change(parquet)
    there, (name,), _ = arrived(tmp_path, parquet)
    here = load(parquet, target="y")
    assert len(here.train) + len(here.test) == 60
    assert data_fingerprint(load(there / name, target="y")) == data_fingerprint(here)


def test_linked_folders_arrive(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name in ("store/x", "photos"):
        (tmp_path / name).mkdir(parents=True)
    for k in range(6):
        image.new("L", (2, 2), 40 * k).save(tmp_path / "store" / "x" / f"{k}.png")
    (tmp_path / "photos" / "cat").symlink_to("../store/x")
    (tmp_path / "photos" / "dog").mkdir()
    for k in range(6):
        (tmp_path / "photos" / "dog" / f"{k}.png").symlink_to(f"../../store/x/{5 - k}.png")
    (tmp_path / "link").symlink_to("photos")
    there, (name,), _ = arrived(tmp_path, tmp_path / "link")
    assert name == "data-0/link"
    assert data_fingerprint(load(there / name)) == data_fingerprint(load(tmp_path / "photos"))


def test_empty_folders_are_sent_and_hidden_folders_are_not(tmp_path):
    for name in ("d/empty/er", "d/.git/objects"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "d" / ".git" / "objects" / "pack").write_bytes(b"x")
    (tmp_path / "d" / ".hidden").write_bytes(b"y")
    there, _, _ = arrived(tmp_path, tmp_path / "d")
    found = sorted(str(path.relative_to(there)) for path in there.rglob("*"))
    assert found == ["data-0", "data-0/d", "data-0/d/.hidden", "data-0/d/empty", "data-0/d/empty/er", "sent.json"]


def test_files_are_copied_if_hard_links_are_forbidden(parquet, tmp_path, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")  # as with the kernel's fs.protected_hardlinks

    monkeypatch.setattr(os, "link", refused)
    pack([str(parquet)], tmp_path / "data.zip")
    assert len(ZipFile(tmp_path / "data.zip").namelist()) == 5


def test_a_built_in_data_set_has_precedence_over_a_file_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text("a,y\n1,2\n")
    _, names, _ = arrived(tmp_path, "digits", "./digits")
    assert names == ["digits", "data-1/digits"]


@pytest.mark.parametrize("name", [".", "../d", "../d/.."])
def test_paths_without_a_last_name_are_sent(tmp_path, monkeypatch, name):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.csv").write_text("a,y\n1,2\n")
    monkeypatch.chdir(tmp_path / "d")
    names, _ = pack([name], tmp_path / "d" / "data.zip") if name == "." else pack([name], Path("/dev/null"))
    assert names == [f"data-0/{Path(name).resolve().name}"]


def test_equal_data_give_equal_archives(parquet, tmp_path):
    pack([str(parquet)], tmp_path / "one.zip")
    os.utime(parquet / "part-1.parquet", (1e9, 1e9))
    pack([str(parquet)], tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_data_that_are_too_large_are_refused_before_copying(tmp_path):
    large = sparse(tmp_path / "large.csv", 3 * GIB)
    with pytest.raises(UsageError, match="the data have more than 500 MB, the most that can be uploaded: put them"):
        pack([str(large)], tmp_path / "data.zip")
    assert not (tmp_path / "data.zip").exists()


def test_each_source_counts_once(tmp_path):
    paths = [sparse(tmp_path / f"{k}.csv", size << 20) for k, size in enumerate((150, 150, 100))]
    names, _ = pack([str(path) for path in paths], tmp_path / "data.zip")
    assert names == ["data-0/0.csv", "data-1/1.csv", "data-2/2.csv"]
    assert (tmp_path / "data.zip").stat().st_size < 2 << 20


def test_the_copy_never_exceeds_the_limit_of_the_dashboard(tmp_path, monkeypatch):
    monkeypatch.setattr(upload, "_MOST_PACKED", 1 << 20)
    (tmp_path / "noise.csv").write_bytes(np.random.default_rng(0).bytes(8 << 20))
    with pytest.raises(
        UsageError, match="packed, the data have more than 1 MB, the most that a Ray cluster's dashboard"
    ):
        pack([str(tmp_path / "noise.csv")], tmp_path / "data.zip")
    assert (tmp_path / "data.zip").stat().st_size < 4 << 20


def dangling(folder: Path) -> None:
    (folder / "part-9.parquet").symlink_to("gone")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "part-9.parquet")


def loop(folder: Path) -> None:
    (folder / "part-9.parquet").symlink_to(".")


def undecodable(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/part-9.parquet\xff")).touch()


def backslash(folder: Path) -> None:
    (folder / "part-9.parquet\\").touch()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (dangling, "cannot be sent: it is a link to nothing"),
        (pipe, "cannot be sent: it is neither a file nor a folder"),
        (loop, "cannot be sent: it is a link to a folder that it lies in"),
        (undecodable, "cannot be sent: its name is no UTF-8"),
        (backslash, "cannot be sent: its name holds a backslash"),
    ],
)
def test_files_that_cannot_be_sent_are_refused_by_name(parquet, tmp_path, change, why):
    change(parquet)
    with pytest.raises(UsageError, match=rf"part-9\.parquet.* {why}"):
        pack([str(parquet)], tmp_path / "data.zip")


def test_missing_sources_are_refused(tmp_path):
    with pytest.raises(UsageError, match="does not exist on this machine: --upload sends its files and folders"):
        pack([str(tmp_path / "nothing.csv")], tmp_path / "data.zip")


def missing(path: Path) -> None:
    path.unlink()


def more(path: Path) -> None:
    (path.parent / "part-3.parquet").touch()


def shorter(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def other(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (missing, r"data-0/pq/part-2\.parquet did not arrive"),
        (more, r"data-0/pq/part-3\.parquet arrived, but was not sent"),
        (shorter, r"data-0/pq/part-2\.parquet arrived with \d+ bytes, \d+ were sent"),
        (other, r"data-0/pq/part-2\.parquet arrived with other bytes than were sent"),
    ],
)
def test_files_that_differ_on_arrival_are_refused_by_name(parquet, tmp_path, change, why):
    there, (name,), digest = arrived(tmp_path, parquet)
    change(there / name / "part-2.parquet")
    with pytest.raises(DataError, match=f"^{why}: submit the run again$"):
        check_arrived(there, digest)


def test_a_changed_or_missing_file_list_is_refused(parquet, tmp_path):
    there, _, digest = arrived(tmp_path, parquet)
    listed = json.loads((there / "sent.json").read_text())
    assert list(listed["files"]) == [f"data-0/pq/part-{k}.parquet" for k in range(3)]
    assert stat.S_IMODE((there / "data-0/pq/part-0.parquet").stat().st_mode) == 0o600
    (there / "sent.json").write_text(json.dumps({**listed, "files": {}}))
    with pytest.raises(DataError, match="the data did not arrive as they were sent"):
        check_arrived(there, digest)
    (there / "sent.json").unlink()
    with pytest.raises(DataError, match=r"the data did not arrive: .*No such file"):
        check_arrived(there, digest)
