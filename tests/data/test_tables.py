"""Tables of every format with the same rows give the same data set."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distbp.data import load
from distbp.data.fingerprint import data_fingerprint
from distbp.data.formats.detect import file_table
from distbp.errors import DataError, UsageError


@pytest.fixture
def frame(rng):
    """Return 90 rows of numbers, text, booleans and dates, some missing; the target is text."""
    x = rng.normal(size=90).round(3)
    frame = pd.DataFrame(
        {
            "size": x,
            "count": rng.integers(0, 50, 90),
            "colour": rng.choice(["red", "green", "dark blue"], 90),
            "open": rng.random(90) > 0.5,
            "since": pd.Timestamp("2020-02-27") + pd.to_timedelta(rng.integers(0, 900, 90), "D"),
            "label": np.where(x > 0, "yes", "no"),
        }
    )
    frame.loc[5, "size"] = np.nan
    frame.loc[7, "colour"] = None
    return frame


def same(one, other):
    assert data_fingerprint(one) == data_fingerprint(other)


def csv_of(frame, path, **options):
    frame = frame.assign(open=frame["open"].map({True: "true", False: "false"}))
    frame.to_csv(path, index=False, **options)
    return path


def test_every_format_gives_the_same_data_set(frame, tmp_path):
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "t.parquet")
    csv_of(frame, tmp_path / "t.csv")
    csv_of(frame, tmp_path / "t.tsv", sep="\t")
    csv_of(frame, tmp_path / "semicolons.txt", sep=";")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    (tmp_path / "folder").mkdir()
    pq.write_table(pa.Table.from_pandas(frame[:40]), tmp_path / "folder" / "0.parquet")
    pq.write_table(pa.Table.from_pandas(frame[40:]), tmp_path / "folder" / "1.parquet")
    expected = load(frame)
    assert expected.classes == ("no", "yes")
    for name in ("t.parquet", "t.csv", "t.tsv", "semicolons.txt", "t.csv.gz", "folder"):
        same(load(tmp_path / name), expected)
    same(load(pa.Table.from_pandas(frame)), expected)


def test_an_arff_file_is_read_as_a_table(frame, tmp_path):
    numbers = frame[["size", "count", "colour", "label"]].fillna({"colour": "?"})
    rows = "\n".join(
        f"{'?' if np.isnan(s) else s},{c},'{colour}',{label}" for s, c, colour, label in numbers.itertuples(index=False)
    )
    (tmp_path / "t.arff").write_text(
        "% a comment\n@RELATION t\n@attribute size NUMERIC\n@attribute 'count' integer\n"
        "@attribute colour {red,green,'dark blue'}\n@attribute label {yes,no}\n\n@DATA\n% another\n" + rows + "\n"
    )
    same(load(tmp_path / "t.arff"), load(frame[["size", "count", "colour", "label"]]))


def test_arrays_of_rows_and_columns_are_tables(rng, tmp_path):
    array = np.column_stack([rng.normal(size=(50, 3)), np.arange(50) % 2])
    np.save(tmp_path / "a.npy", array)
    expected = load(array, target=-1, task="classification")
    same(load(tmp_path / "a.npy", target="3", task="classification"), expected)
    assert expected.classes == (0, 1)
    named = np.array([(0.5, b"a"), (1.5, b"b")] * 20, dtype=[("x", "f4"), ("y", "S1")])
    np.save(tmp_path / "named.npy", named)
    assert load(tmp_path / "named.npy").classes == ("a", "b")


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ray_data_are_a_table(frame, shared_ray):
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    same(load(ray.data.from_arrow(pa.Table.from_pandas(frame))), load(frame))


def test_numbers_are_standardised_by_training_rows_alone(frame):
    data = load(frame[["size", "count", "label"]])
    size, count = (column.numbers[0] for column in data.preprocessing.columns)
    kept = data.train.x[:, 1].astype(float) + count.reference
    assert count.mean == pytest.approx(kept.mean())
    assert count.deviation == pytest.approx(kept.std())
    known = data.train.x[:, 0][~np.isnan(data.train.x[:, 0])] + size.reference
    assert size.median == pytest.approx(np.median(known), abs=1e-6)
    assert len(known) + size.missing == len(data.train)


def test_constant_columns_are_left_out_with_a_note(frame):
    data = load(frame.assign(same=3.5, word="w", nothing=np.nan))
    told = {name: what for name, _, what in data.preprocessing.described()}
    assert all("left out" in told[name] for name in ("same", "word", "nothing"))
    assert data.features == load(frame).features


def test_regression_is_trained_in_standard_units(frame):
    data = load(frame.fillna({"size": 0.0}), target="size", drop=["label"])
    assert data.task == "regression"
    assert data.train.y.mean() == pytest.approx(0, abs=1e-6)
    assert data.train.y.std() == pytest.approx(1, abs=1e-5)


def test_integers_with_many_distinct_values_are_values():
    y = np.concatenate([np.arange(65_536) % 5, np.arange(500)])  # the first chunk alone looks like classes
    data = load(pd.DataFrame({"x": np.arange(len(y)) * 1.0, "y": y}))
    assert data.task == "regression"
    assert data.train.y.mean() == pytest.approx(0, abs=1e-4)


def test_weights_come_from_their_column(frame):
    data = load(frame.assign(w=np.arange(90.0)), weights="w")
    assert data.train.weights.shape == (72,)
    assert "w" not in [column.name for column in data.preprocessing.columns]


def test_statistics_exclude_the_validation_part(frame):
    data = load(frame[["count", "label"]], validation_fraction=0.25)
    assert (len(data.train), len(data.validation), len(data.test)) == (54, 18, 18)
    number = data.preprocessing.columns[0].numbers[0]
    assert number.mean == pytest.approx((data.train.x[:, 0] + number.reference).mean())


def test_c45_files_are_read(tmp_path):
    rows = [f"{k}, {'a' if k % 3 else 'b'}, {'>50K' if k % 2 else '<=50K'}" for k in range(60)]
    (tmp_path / "t.data").write_text("\n".join(rows) + "\n\n")
    (tmp_path / "t.test").write_text("|1x3 Cross validator\n" + "\n".join(f"{row}." for row in rows[:20]) + "\n\n")
    told = []
    data = load(tmp_path / "t.data", test_file=tmp_path / "t.test", target=-1, note=told.append)
    assert data.classes == ("<=50K", ">50K")
    assert (len(data.train), len(data.test)) == (60, 20)
    assert data.test.y.tolist() == data.train.y[:20].tolist()
    assert any("begin with | are comments" in text for text in told)
    assert any("full stop" in text for text in told)
    assert any("comma as separator, no header" in text for text in told)


def test_columns_of_the_test_file_may_have_another_order(frame, tmp_path):
    csv_of(frame, tmp_path / "a.csv")
    csv_of(frame[frame.columns[::-1]], tmp_path / "b.csv")
    data = load(tmp_path / "a.csv", test_file=tmp_path / "b.csv")
    assert np.array_equal(data.train.x, data.test.x, equal_nan=True)


def test_several_spaces_count_as_one_separator(tmp_path):
    (tmp_path / "t.data").write_text("".join(f"  {k}.0   {k % 7}    {k % 2}\n" for k in range(40)))
    assert load(tmp_path / "t.data", target=-1).preprocessing.stored_columns == 2


@pytest.mark.parametrize(
    ("text", "header"),
    [("a,b\n1,2\n3,4\n", True), ("1,2\n3,4\n", False), ("x,y\nq,r\ns,t\n", True), ("q,r\nq,t\ns,r\n", False)],
)
def test_header_is_guessed(text, header, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    assert file_table(tmp_path / "t.csv").dialect.header == header


def test_guesses_can_be_overruled(tmp_path):
    (tmp_path / "t.csv").write_text("1,2\n3,4\n5,6\n")
    assert list(file_table(tmp_path / "t.csv", header=True).kinds) == ["1", "2"]
    assert list(file_table(tmp_path / "t.csv", separator="semicolon", header=False).kinds) == ["0"]


def test_images_and_parquet_give_the_same_pixels(rng, tmp_path):
    pixels, classes = rng.integers(0, 256, (60, 4, 3), dtype=np.uint8), np.arange(60) % 3
    for row in range(60):
        folder = tmp_path / "images" / ("train" if row < 45 else "test") / str(classes[row])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[row]).save(folder / f"{row:03}.png")
    flat = pixels.reshape(60, -1)
    table = pa.table({**{f"p{k}": flat[:, k] for k in range(12)}, "label": classes.astype(np.uint8)})
    pq.write_table(table[:45], tmp_path / "train.parquet")
    pq.write_table(table[45:], tmp_path / "test.parquet")
    np.savez(tmp_path / "a.npz", x_train=pixels[:45], y_train=classes[:45], x_test=pixels[45:], y_test=classes[45:])
    found = [
        load(tmp_path / "a.npz"),
        load(tmp_path / "images"),
        load(tmp_path / "train.parquet", test_file=tmp_path / "test.parquet"),
    ]
    for data in found:
        assert data.train.x.tobytes() == flat[:45].tobytes()
        assert data.test.y.tolist() == classes[45:].tolist()
        assert data.train.factor == 1 / 255
    assert [data.classes for data in found] == [(0, 1, 2), ("0", "1", "2"), (0, 1, 2)]


def test_images_of_another_size_are_refused(tmp_path):
    for k, size in enumerate([(3, 3), (3, 3), (4, 3)]):
        (tmp_path / str(k % 2)).mkdir(exist_ok=True)
        Image.new("L", size).save(tmp_path / str(k % 2) / f"{k}.png")
    with pytest.raises(DataError, match=r"2\.png is 4x3 pixels large, the first image 3x3"):
        load(tmp_path)


def test_preprocessing_is_plain_json(frame):
    told = load(frame).preprocessing.to_json()
    assert json.loads(json.dumps(told))["target"]["name"] == "label"


def test_table_options_are_refused_for_arrays():
    with pytest.raises(UsageError, match="target is for tables: digits holds arrays"):
        load("digits", target="x")


def test_a_long_header_is_read(tmp_path, rng):
    names = [f"measured_at_place_{k:08d}" for k in range(12_000)]
    rows = [",".join(map(str, row)) for row in rng.integers(0, 9, (20, len(names)))]
    (tmp_path / "t.csv").write_text(
        "\n".join([",".join([*names, "y"]), *(f"{row},{k % 2}" for k, row in enumerate(rows))])
    )
    table = file_table(tmp_path / "t.csv")
    assert table.dialect.names == (*names, "y")
    assert table.dialect.header
