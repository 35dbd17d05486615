"""A second table is read as the first one: whether it has a header is not guessed again from its own few rows."""

from pathlib import Path

import pytest

from distbp.data import load


@pytest.mark.parametrize("has_header", [True, False])
def test_the_first_tables_header_counts_for_the_second_one(tmp_path: Path, has_header: bool) -> None:
    rows = [f"w{k % 3},{k},{'yes' if k % 2 else 'no'}" for k in range(40)]
    few = ["w1,,no", "w2,,yes"]  # no number tells a header from rows here
    head = ["word,number,answer"] if has_header else []
    (tmp_path / "train.csv").write_text("\n".join(head + rows) + "\n")
    (tmp_path / "test.csv").write_text("\n".join(head + few) + "\n")
    target = "answer" if has_header else "2"
    data = load(tmp_path / "train.csv", tmp_path / "test.csv", target=target)
    assert len(data.train) + len(data.test) == 42
    data = load(tmp_path / "train.csv", target=target, test_file=str(tmp_path / "test.csv"))
    assert (len(data.train), len(data.test)) == (40, 2)
