"""Targets of a table that is evaluated keep the kind that they stand there in."""

from typing import Any

import pyarrow as pa
import pytest

from distbp.data.tables.transform import targets_of

NOWHERE: Any = None  # where the rows are, for messages alone


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        ([True, False, True], (False, True)),
        ([2, 5, 2], (2, 5)),
        ([0.25, -1.5], ()),
        (["no", "yes"], ("no", "yes")),
    ],
)
def test_targets_are_what_stands_in_the_cells(cells: list[Any], classes: tuple[Any, ...]) -> None:
    found = targets_of(pa.chunked_array([cells]), NOWHERE, "y", classes)
    assert found.tolist() == cells
    assert (found.dtype == bool) is isinstance(cells[0], bool)
