"""When a column of text counts as numbers with mistakes."""

import pyarrow as pa
import pytest

from distbp.data.formats import dialect


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["1", "2.5"], True),  # at least two numbers are needed
        (["1"], False),
        (["1", None], False),
        (["1", "2", None, None, None], True),  # missing cells do not count
        ([], False),
        ([None, None], False),
    ],
)
def test_a_column_of_numbers_has_at_least_two_of_them(cells: list[str | None], found: bool) -> None:
    assert dialect.are_mostly_numbers(pa.array(cells, pa.string())) is found


def test_a_column_is_numeric_from_the_required_fraction_on() -> None:
    share = dialect._SHARE_OF_NUMBERS
    numbers = round(100 * share)
    assert numbers == 100 * share
    for count, found in ((numbers, True), (numbers - 1, False)):
        cells = ["7"] * count + ["seven"] * (100 - count)
        assert dialect.are_mostly_numbers(pa.array(cells)) is found
