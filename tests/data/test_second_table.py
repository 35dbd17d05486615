"""A second table is read as the first one: whether it has a header is not guessed again from its own rows."""

from pathlib import Path

from distbp.data import load


def test_the_first_tables_header_counts_for_the_second_one(tmp_path: Path) -> None:
    rows = [f"{('7', 'A1', '9', 'B2')[k % 4]},{'xyz'[k % 3]},{'yes' if k % 2 else 'no'}" for k in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(rows) + "\n")
    # by itself it looks like a table of numbers below a header
    (tmp_path / "test.csv").write_text("A1,x,no\n7,y,yes\n9,z,no\n7,x,yes\n")
    data = load(tmp_path / "train.csv", target="2", test_file=str(tmp_path / "test.csv"))
    assert (len(data.train), len(data.test)) == (40, 4)
