"""A table's note names the guessed separator unless the file name implies it."""

import gzip
from pathlib import Path

import pytest

from distbp.data.formats.text import TextTable


@pytest.mark.parametrize(
    ("name", "separator", "is_noted"),
    [
        ("t.csv", ",", False),
        ("t.csv.gz", ",", False),
        ("T.CSV", ",", False),
        ("t.tsv", "\t", False),
        ("t.tsv.gz", "\t", False),
        ("t.tab", "\t", False),
        ("t.csv", ";", True),
        ("t.csv.gz", ";", True),
        ("t.tsv", ",", True),
        ("t.txt", ",", True),
        ("t.gz", ",", True),
    ],
)
def test_a_separator_is_noted_unless_the_file_name_implies_it(
    tmp_path: Path, name: str, separator: str, is_noted: bool
) -> None:
    text = "".join(separator.join(row) + "\n" for row in (("a", "b"), ("1", "2"), ("3", "4"))).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    notes = TextTable(path).notes
    assert bool(notes) is is_noted
    if is_noted:
        assert "as separator, a header (--separator, --header/--no-header to change)" in notes[0]
