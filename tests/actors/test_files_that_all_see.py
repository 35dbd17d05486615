"""Files that every host of a cluster can read are mapped there; others are sent."""

import numpy as np
import pytest

from distbp.actors.connection.nodes import see_alike
from distbp.actors.worker_group import fetch, put_rows
from distbp.data.dataset import Rows
from distbp.data.prepared.mapped import MappedFile, mapped, opened
from distbp.errors import DataError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


def test_a_file_is_compared_with_that_of_every_node(tmp_path):
    for name, count in (("small", 1), ("large", 300_000)):
        np.save(tmp_path / f"{name}.npy", np.zeros(count))
    small, large = (mapped(np.load(tmp_path / f"{name}.npy", mmap_mode="r")) for name in ("small", "large"))
    assert see_alike([small, large])
    assert not see_alike([small, large._replace(path=tmp_path / "missing")])
    assert not see_alike([small, large._replace(path=small.path)])
    changed = np.load(large.path)
    changed[-1] = 1
    np.save(large.path, changed)
    assert not see_alike([small, large])
    with pytest.raises(DataError, match=r"large.npy is another file than the one that the run began with"):
        opened(large)


def test_rows_are_passed_by_file_name_or_by_value(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float32))
    rows = Rows(np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(3))
    x, y, *_ = put_rows(rows)
    assert x.path == tmp_path / "x.npy"
    assert not isinstance(y, MappedFile)
    for passed, array in ((x, rows.x), (y, rows.y)):
        np.testing.assert_array_equal(fetch(passed), array)
    (tmp_path / "x.npy").rename(tmp_path / "elsewhere.npy")
    x, *_ = put_rows(rows)
    assert not isinstance(x, MappedFile)
    np.testing.assert_array_equal(fetch(x), rows.x)
