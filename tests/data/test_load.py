import numpy as np
import pytest
from sklearn.datasets import load_digits

from distbp.data import load, load_rows
from distbp.errors import DataError, UsageError


@pytest.fixture
def table(rng):
    """Ten rows of three numbers with classes 0 and 1."""
    return rng.random((10, 3)), np.arange(10) % 2


def test_digits(digits):
    assert (digits.name, digits.task, digits.features, digits.outputs) == ("digits", "classification", 64, 10)
    assert digits.classes == tuple(range(10))
    assert len(digits.train) + len(digits.test) == 1797
    assert digits.train.x.dtype == np.uint8
    assert (digits.train.x.max() * digits.train.factor, digits.train.x.min()) == (1, 0)


def test_digits_are_those_of_sklearn(digits):
    def row_set(x, y):
        return sorted(map(tuple, np.column_stack([x, y]).astype(int).tolist()))

    theirs = load_digits()
    ours = [row_set(part.x, part.y) for part in (digits.train, digits.test)]
    assert sorted(ours[0] + ours[1]) == row_set(theirs.data, theirs.target)


def test_mnist(data_folder):
    data = load(data_folder / "mnist")
    assert (data.train.x.shape, data.test.x.shape) == ((60_000, 784), (10_000, 784))
    assert data.train.x.dtype == data.test.x.dtype == np.uint8
    assert data.classes == tuple(range(10))
    assert data.train.factor == 1 / 255
    assert data.train.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test.y[:5].tolist() == [7, 2, 1, 0, 4]


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_every_class_contributes_its_share_to_the_test_part(fraction):
    y = np.repeat(["a", "b", "c"], [100, 50, 30])
    data = load((np.arange(180.0)[:, None], y), test_fraction=fraction)
    assert np.abs(np.bincount(data.test.y) - fraction * np.array([100, 50, 30])).max() <= 1
    assert len(data.test) == round(180 * fraction)


def test_every_row_is_in_exactly_one_part():
    data = load((np.arange(180.0)[:, None], np.arange(180) % 3))
    assert sorted(np.concatenate([data.train.x, data.test.x])[:, 0].tolist()) == list(range(180))


def test_held_out_rows_depend_on_the_seed(table):
    first, again, other = (load(table, seed=seed).test.x.tobytes() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (["no", "yes"] * 5, "classification", ("no", "yes")),
        ([3, -1] * 5, "classification", (-1, 3)),
        ([True, False] * 5, "classification", (False, True)),
        ([0.5, 1.5] * 5, "regression", ()),
        ([[1, 2]] * 10, "regression", ()),
    ],
)
def test_task_is_inferred_from_the_targets(y, task, classes, table):
    data = load((table[0], np.array(y)))
    assert (data.task, data.classes) == (task, classes)


def test_more_than_20_distinct_integers_are_values(rng):
    x = rng.random((200, 2))
    assert load((x, np.arange(200) % 20)).task == "classification"
    assert load((x, np.arange(200) % 21)).task == "regression"
    assert load((x, np.arange(200) % 21), task="classification").classes == tuple(range(21))


def test_whole_floats_are_the_same_classes_as_integers(table):
    data = load((table[0], table[1].astype(float)), task="classification")
    assert data.classes == (0, 1)


def test_byte_strings_are_read_as_text_classes(table):
    assert load((table[0], np.array([b"no", b"yes"] * 5))).classes == ("no", "yes")  # JSON has no bytes


def test_several_sources_are_concatenated_in_order(tmp_path, table):
    x, y = table
    np.savez(tmp_path / "one.npz", X=x[:6], y=y[:6])
    np.savez(tmp_path / "two.npz", X=x[6:], y=y[6:])
    joined = load(tmp_path / "one.npz", tmp_path / "two.npz")
    assert joined.train.x.tobytes() == load(table).train.x.tobytes()
    assert joined.name == "one"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"X": np.ones((4, 2)), "y": np.ones(4, int)}, r"x of .*two.npz has columns \(2,\)"),
        ({"X": np.ones((4, 3), np.uint8), "y": np.ones(4, int)}, "x of .*two.npz has columns .* of uint8"),
        ({"X": np.ones((4, 3))}, r"two.npz holds \['x'\], .*one.npz holds \['x', 'y'\]"),
    ],
)
def test_sources_with_different_columns_are_refused(other, message, tmp_path, table):
    np.savez(tmp_path / "one.npz", X=table[0], y=table[1])
    np.savez(tmp_path / "two.npz", **other)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "one.npz", tmp_path / "two.npz")


def test_digits_and_other_pixels_cannot_be_joined(tmp_path):
    x, y = np.zeros((4, 64), np.uint8), np.arange(4)
    np.savez(tmp_path / "pixels.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(DataError, match="scale their pixels differently"):
        load("digits", tmp_path / "pixels.npz")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("digit", UsageError, "unknown data set .*'digit': did you mean 'digits'"),
        ("nowhere.npz", DataError, "nowhere.npz does not exist"),
        ("no/such/folder", DataError, "no/such/folder does not exist"),
        ("x" * 5000 + ".npz", DataError, "is no usable path"),
    ],
)
def test_unknown_source_is_refused(source, error, message):
    with pytest.raises(error, match=message):
        load(source)


def test_file_of_unknown_format_is_refused(tmp_path):
    (tmp_path / "a.xyz").write_bytes(b"\x7fELF\0\0\0")
    with pytest.raises(DataError, match=r"a.xyz is of no known kind"):
        load(tmp_path / "a.xyz")


def test_error_for_an_unknown_task_suggests_the_nearest_name(table):
    with pytest.raises(UsageError, match="unknown task 'regresion': did you mean 'regression'"):
        load(table, task="regresion")


def test_an_empty_list_of_sources_is_refused():
    with pytest.raises(UsageError, match="no data given"):
        load()


def test_load_returns_a_data_set_unchanged(digits):
    assert load(digits) is digits
    with pytest.raises(UsageError, match="a loaded data set cannot be joined with other data"):
        load(digits, digits)


def test_rows_to_predict_are_the_stored_test_part(digits):
    x, y = load_rows(digits)
    assert x.dtype == np.uint8  # the network scales bytes itself
    assert (x == digits.test.x).all()
    assert (y == digits.test.y).all()


def test_rows_to_predict_need_no_targets(tmp_path, rng):
    x = rng.random((3, 2))
    np.savez(tmp_path / "new.npz", X=x)
    found, y = load_rows(tmp_path / "new.npz", dtype="float64")
    assert (found == x).all()
    assert y is None
