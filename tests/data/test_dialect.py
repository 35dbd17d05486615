"""Where a column of text counts as numbers with a mistake in it."""

import pyarrow as pa
import pytest

from distbp.data.formats import dialect


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["1", "2.5"], True),  # two numbers are the fewest
        (["1"], False),
        (["1", None], False),
        (["1", "2", None, None, None], True),  # what is missing does not count
        ([], False),
        ([None, None], False),
    ],
)
def test_two_numbers_are_the_fewest_that_a_column_of_them_may_have(cells: list[str | None], found: bool) -> None:
    assert dialect.are_mostly_numbers(pa.array(cells, pa.string())) is found


def test_a_column_is_of_numbers_from_the_share_of_them_on_that_is_asked_for() -> None:
    share = dialect._SHARE_OF_NUMBERS
    numbers = round(100 * share)
    assert numbers == 100 * share
    for count, found in ((numbers, True), (numbers - 1, False)):
        cells = ["7"] * count + ["seven"] * (100 - count)
        assert dialect.are_mostly_numbers(pa.array(cells)) is found
