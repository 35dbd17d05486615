"""Targets of a table to evaluate keep the type of their cells."""

from typing import Any

import pyarrow as pa
import pytest

from distbp.data.tables.transform import targets_of

NOWHERE: Any = None  # position of the rows, used only in messages


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        ([True, False, True], (False, True)),
        ([2, 5, 2], (2, 5)),
        ([0.25, -1.5], ()),
        (["no", "yes"], ("no", "yes")),
    ],
)
def test_targets_keep_the_type_of_their_cells(cells: list[Any], classes: tuple[Any, ...]) -> None:
    found = targets_of(pa.chunked_array([cells]), NOWHERE, "y", classes)
    assert found.tolist() == cells
    assert (found.dtype == bool) is isinstance(cells[0], bool)
