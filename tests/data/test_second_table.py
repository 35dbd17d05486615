"""A second table is read like the first one: its header is not guessed again."""

from pathlib import Path

import numpy as np
import pytest

from distbp.data import load
from distbp.errors import DataError


def test_the_header_of_the_first_table_applies_to_the_second(tmp_path: Path) -> None:
    rows = [f"{('7', 'A1', '9', 'B2')[k % 4]},{'xyz'[k % 3]},{'yes' if k % 2 else 'no'}" for k in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(rows) + "\n")
    # alone, it looks like a table of numbers below a header
    (tmp_path / "test.csv").write_text("A1,x,no\n7,y,yes\n9,z,no\n7,x,yes\n")
    data = load(tmp_path / "train.csv", target="2", test_file=str(tmp_path / "test.csv"))
    assert (len(data.train), len(data.test)) == (40, 4)


def test_a_categorical_column_stays_categorical_in_the_test_file(tmp_path: Path) -> None:
    rows = [f"{('7', 'A1', '07', 'B2')[k % 4]},{k}.5,{'yes' if k % 2 else 'no'}" for k in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["code,x,label", *rows]) + "\n")
    # alone, it looks like a column of numbers, in which 7 equals 07
    (tmp_path / "test.csv").write_text("code,x,label\n07,1,no\n7,1,yes\n7.0,1,no\n")
    data = load(tmp_path / "train.csv", target="label", test_file=str(tmp_path / "test.csv"))
    (column,) = [column for column in data.preprocessing.columns if column.name == "code"]
    assert sorted(column.values) == ["07", "7", "A1", "B2"]
    test = np.asarray(data.test.x)
    codes = [place for place in range(test.shape[1]) if len(set(test[:, place])) == 3]
    assert len(codes) == 1  # 07, 7 and 7.0 (in no training row) are three categories


def test_a_column_missing_in_the_test_file_is_named(tmp_path: Path) -> None:
    rows = [f"{k % 4},{k}.5,{'yes' if k % 2 else 'no'}" for k in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["code,x,label", *rows]) + "\n")
    (tmp_path / "test.csv").write_text("code,label\n1,no\n")
    with pytest.raises(DataError, match=r"test.csv has no column 'x', which .*train.csv has"):
        load(tmp_path / "train.csv", target="label", test_file=str(tmp_path / "test.csv"))
