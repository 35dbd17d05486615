"""Files that every host of a cluster sees are mapped there; others travel."""

from pathlib import Path

import numpy as np
import pytest

from distbp.actors.crew import got, put_rows
from distbp.actors.nodes import see_alike
from distbp.data.dataset import Rows
from distbp.data.mapped import Mapped

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


def test_a_file_is_compared_with_what_every_node_has(tmp_path):
    (tmp_path / "small").write_bytes(b"1")
    (tmp_path / "large").write_bytes(bytes(300_000))
    assert see_alike([tmp_path / "small", tmp_path / "large"])
    assert not see_alike([tmp_path / "small", tmp_path / "missing"])
    assert not see_alike([Path("/proc/self/stat")])  # every process has its own


def test_rows_are_passed_by_their_files_names_or_as_they_are(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float32))
    rows = Rows(np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(3))
    x, y, *_ = put_rows(rows)
    assert x == Mapped(tmp_path / "x.npy")
    assert not isinstance(y, Mapped)
    for passed, array in ((x, rows.x), (y, rows.y)):
        np.testing.assert_array_equal(got(passed), array)
    (tmp_path / "x.npy").rename(tmp_path / "elsewhere.npy")
    x, *_ = put_rows(rows)
    assert not isinstance(x, Mapped)
    np.testing.assert_array_equal(got(x), rows.x)
