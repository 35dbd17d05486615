"""Preprocessing of tables: properties that hold for any table and any order of rows and columns."""

import csv
import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import distbp
from distbp.data import load
from distbp.data.columns.encoding import encode
from distbp.data.columns.preprocessing import Preprocessing
from distbp.data.formats.text import TextTable
from distbp.errors import DataError

NUMBERS = st.one_of(st.none(), st.floats(-1e12, 1e12, allow_nan=False), st.integers(-(10**9), 10**9))
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8)


@st.composite
def frames(draw):
    rows = draw(st.integers(12, 40))

    def column(cells):
        return draw(st.lists(cells, min_size=rows, max_size=rows))

    frame = pd.DataFrame(
        {
            "number": pd.array([None if v is None else float(v) for v in column(NUMBERS)], dtype="Float64"),
            "word": pd.array(column(st.one_of(st.none(), WORDS)), dtype="string"),
            "flag": pd.array(column(st.one_of(st.none(), st.booleans())), dtype="boolean"),
        }
    )
    return frame.assign(sure=np.arange(rows) * 1.0, y=np.arange(rows) % 2 == 0)


@settings(max_examples=40)
@given(frames())
def test_inputs_are_finite_and_reproduced_from_the_json(frame):
    data = load(frame)
    again = Preprocessing.from_json(json.loads(json.dumps(data.preprocessing.to_json())))
    assert again == data.preprocessing
    x = encode(again.encoding("float32"), data.train.x)
    assert x.shape == (len(data.train), data.features)
    assert np.isfinite(x).all()
    numbers = len(data.train.encoding.numbers.positions)
    assert (np.abs(x[:, :numbers].mean(axis=0)) < 10).all()
    hot = len(data.train.encoding.categories.positions)
    ones = x[:, data.features - sum(len(c.kept) + 1 for c in again.columns if c.kept) :]
    assert (ones.sum(axis=1) == hot).all()


@settings(max_examples=40)
@given(frames(), st.randoms(use_true_random=False))
def test_a_row_gives_the_same_numbers_alone_and_in_any_order_of_columns(frame, random):
    data = load(frame)
    network = distbp.Network.of(
        distbp.Network((data.features, 2)).structure,
        distbp.Network((data.features, 2)).weights,
        (False, True),
        preprocessing=data.preprocessing,
    )
    columns = list(frame.columns)
    random.shuffle(columns)
    assert network._features(frame[columns]).tobytes() == network._features(frame).tobytes()


@settings(max_examples=80)
@given(
    st.lists(st.tuples(WORDS, WORDS, st.integers(-5, 5)), min_size=1, max_size=30),
    st.sampled_from([",", ";", "\t", "|"]),
    st.integers(40, 300),
)
def test_csv_cells_have_the_values_that_were_written(tmp_path_factory, rows, separator, block):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["one", "two", "three"])
    writer.writerows(rows)
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text(file.getvalue(), encoding="utf-8", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distbp.data.formats.text._BLOCK", block * 8)
        table = TextTable(path, separator, header=True)
        table.select_columns({"one": "text", "two": "text", "three": "number"}, ["one", "two", "three"])
        read = [
            row for found in table.blocks() for row in zip(*(c.to_pylist() for c in found.rows.columns), strict=True)
        ]
    missing = ("", "?", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None")

    def seen(word):
        return None if word in missing or word.removeprefix(" ") in missing else word

    assert read == [(seen(one), seen(two), float(three)) for one, two, three in rows]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=200), st.integers(1, 50))
def test_moments_are_those_of_all_rows(values, cut):
    from distbp.data.tables.moments import Moments

    moments = Moments(1)
    for start in range(0, len(values), cut):
        moments.add(np.array([values[start : start + cut]]))
    assert math.isclose(moments.mean[0], np.mean(values), rel_tol=1e-9, abs_tol=1e-6)
    if max(values) - min(values) > 1:
        assert math.isclose(moments.deviations()[0], np.std(values), rel_tol=1e-6, abs_tol=1e-6)
    assert np.allclose(moments.quantiles(4)[0], np.quantile(values, np.linspace(0, 1, 5)))


def test_large_numbers_keep_their_precision():
    rng = np.random.default_rng(0)
    seconds = 1.7e9 + rng.random(400) * 100  # float32 has a resolution of only 128 seconds here
    data = load(pd.DataFrame({"t": seconds, "y": np.arange(400) % 2}))
    number = data.preprocessing.columns[0].numbers[0]
    kept = data.train.x[:, 0].astype(float) + number.reference
    assert np.abs(kept[:, None] - seconds).min(axis=1).max() < 1e-5
    x = encode(data.train.encoding, data.train.x)[:, 0]
    assert x.std() == pytest.approx(1, abs=1e-4)


def test_new_and_missing_categories_are_unknown():
    frame = pd.DataFrame({"c": ["a", "b"] * 20, "y": [0, 1] * 20})
    data = load(frame)
    encoding = data.preprocessing.encoding("float32")
    from distbp.data.tables.transform import named_table, transform_table

    new = named_table(pd.DataFrame({"c": ["b", "zzz", None, " a "]}))
    x = encode(encoding, transform_table(new, data.preprocessing, "float32"))
    assert x.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1], [1, 0, 0]]


def test_missing_column_is_named():
    network = distbp.train(
        pd.DataFrame({"a": range(40), "b": range(40), "y": [0, 1] * 20}), workers=0, epochs=1
    ).network
    with pytest.raises(DataError, match="the table has no column 'b', which the model was trained with; it has a, c"):
        network.predict(pd.DataFrame({"a": [1], "c": [2]}))
