"""Typed tables with dates beyond the calendar or with invalid text."""

import datetime

import numpy as np
import pytest

from distbp.data import load
from distbp.errors import DataError

pa = pytest.importorskip("pyarrow")
ROWS = 60
UNITS = [
    pa.timestamp("s"),
    pa.timestamp("ms"),
    pa.timestamp("us"),
    pa.timestamp("us", tz="UTC"),
    pa.date64(),
    pa.date32(),
]


def table(numbers, type_):
    storage = pa.int32() if type_ == pa.date32() else pa.int64()
    return pa.table({"d": pa.array(numbers, storage).cast(type_), "y": np.arange(ROWS) % 2})


@pytest.mark.parametrize("type_", UNITS, ids=str)
@pytest.mark.parametrize("far", [1, -1])
def test_a_date_beyond_the_calendar_is_named(far, type_):
    numbers = [86_400_000 * k for k in range(ROWS)] if type_ != pa.date32() else list(range(ROWS))
    load(table(numbers, type_), target="y")
    numbers[7] = far * (2**31 - 1 if type_ == pa.date32() else 2**62 // 86_400_000 * 86_400_000)
    with pytest.raises(DataError, match="row 8 column 'd' is a date before year 1 or after 9999"):
        load(table(numbers, type_), target="y")


def test_the_first_and_the_last_day_are_read():
    days = [datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None] * (ROWS // 3)
    data = load(pa.table({"d": days, "y": np.arange(ROWS) % 2}), target="y")
    years = [number for column in data.preprocessing.columns for number in column.numbers if number.part == "year"]
    assert np.ptp(data.train.x[:, 0][~np.isnan(data.train.x[:, 0])]) == 9998
    assert years[0].missing > 0


def test_every_nanosecond_timestamp_is_within_the_calendar():
    numbers = [0, 2**63 - 1, -(2**63) + 1] * (ROWS // 3)
    load(pa.table({"d": pa.array(numbers, pa.int64()).cast(pa.timestamp("ns")), "y": np.arange(ROWS) % 2}), target="y")


@pytest.mark.parametrize("target", ["y", "t"])
def test_text_that_is_not_utf8_is_refused_with_its_place(target):
    cells = [b"a", b"b"] * (ROWS // 2)
    cells[11] = b"\xff\xfe"
    text = pa.Array.from_buffers(pa.string(), ROWS, pa.array(cells, pa.binary()).buffers())
    with pytest.raises(DataError, match="row 12 column 't' is not UTF-8 text"):
        load(pa.table({"t": text, "y": np.arange(ROWS) % 2}), target=target)
