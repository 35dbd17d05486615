"""A mistake in the second of two tables is reported with the row number of that table."""

from pathlib import Path

import pytest

from distbp.data import load
from distbp.errors import DataError


def test_a_missing_target_is_reported_with_the_row_of_its_own_table(tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("a,y\n" + "".join(f"{k},{k % 2 * 7}\n" for k in range(30)))
    second.write_text("a,y\n" + "".join(f"{k},{'' if k == 4 else k % 2 * 7}\n" for k in range(20)))
    with pytest.raises(DataError) as raised:
        load(first, second, target="y", task="classification")
    assert f"{second} row 5 column 'y'" in str(raised.value)  # the fifth row below its header
