"""Columns of a model: errors for a table without some of them, and for JSON with invalid content."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from distbp.data import load
from distbp.data.columns.column import check_columns
from distbp.data.columns.encoding import encode
from distbp.data.columns.preprocessing import Preprocessing
from distbp.errors import DataError


@pytest.fixture(scope="module")
def preprocessing() -> Preprocessing:
    frame = pd.DataFrame({name: np.arange(20.0) for name in "abcde"} | {"y": np.arange(20) % 2 == 0})
    found = load(frame).preprocessing
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("abcd", "no column 'e', which"),
        ("ab", "no column 'c', 'd', 'e', which"),
        ("a", "no column 'b', 'c', 'd' and 1 more, which"),
        ("", "no column 'a', 'b', 'c' and 2 more, which"),
    ],
)
def test_three_missing_columns_are_named_and_the_others_counted(
    preprocessing: Preprocessing, there: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        check_columns(preprocessing.columns, list(there), "t.csv")


@pytest.mark.parametrize(
    "part",
    [
        lambda content: content["columns"][0],
        lambda content: content["columns"][0]["numbers"][0],
        lambda content: content["target"],
    ],
    ids=["column", "number", "target"],
)
def test_an_unknown_name_in_the_json_is_refused(
    preprocessing: Preprocessing, part: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    content = json.loads(json.dumps(preprocessing.to_json()))
    assert Preprocessing.from_json(content) == preprocessing
    part(content)["surprise"] = 1
    with pytest.raises(ValueError, match="surprise"):
        Preprocessing.from_json(content)


def test_every_category_has_an_input_even_if_it_is_rare_in_later_chunks() -> None:
    """Categories are counted in chunks of 65,536 rows, and the counts are added."""
    rows, chunk = 66_000, 65_536
    words = np.where(np.arange(rows) % 3 > 0, "early", "steady")
    words[chunk:] = np.where(np.arange(rows - chunk) % 50 == 0, "early", "steady")
    frame = pd.DataFrame({"word": words, "number": np.arange(rows) * 1.0, "y": np.arange(rows) % 2 == 0})
    found = load(frame).preprocessing
    assert found is not None
    assert found.columns[[column.name for column in found.columns].index("word")].kept == ("early", "steady")


def test_a_missing_number_becomes_the_standardised_median_and_is_flagged() -> None:
    """This holds even if the first 65,536 rows, whose mean is the origin of sums, have another mean than all rows."""
    rows = 80_000
    numbers = [None if k % 10 == 3 else k * k / 1e6 for k in range(rows)]
    data = load(pd.DataFrame({"x": numbers, "y": np.arange(rows) % 2 == 0}), dtype="float64")
    assert data.preprocessing is not None
    encoding = data.preprocessing.encoding("float64")
    assert encoding is not None
    inputs = encode(encoding, data.train.x)
    kept = data.train.x[:, 0]
    there = sorted(each for each in kept.tolist() if not math.isnan(each))
    mean = sum(there) / len(there)
    deviation = math.sqrt(sum((each - mean) ** 2 for each in there) / len(there))
    median = (there[(len(there) - 1) // 2] + there[len(there) // 2]) / 2
    assert abs(median - mean) > deviation / 10
    is_missing = np.isnan(kept)
    assert is_missing.any()
    np.testing.assert_allclose(inputs[is_missing, 0], (median - mean) / deviation, rtol=1e-6)
    np.testing.assert_allclose(inputs[~is_missing, 0], (kept[~is_missing] - mean) / deviation, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(inputs[:, 1], is_missing)
    # a row without a number has the pieces of the row with the median
    pieces = inputs[:, 2:]
    nearest = int(np.nanargmin(np.abs(kept - median)))
    np.testing.assert_allclose(pieces[is_missing], np.tile(pieces[nearest], (int(is_missing.sum()), 1)), atol=1e-3)
    assert np.abs(pieces).max() == 1
