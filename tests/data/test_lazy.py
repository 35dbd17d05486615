"""Sparse rows and user-defined data sets give the same bits as the same rows in an array."""

import numpy as np
import pytest
import scipy.sparse

import distbp
from distbp.data.lazy import SparseRows
from distbp.errors import DataError, UsageError

SETTINGS = {"hidden": (16,), "epochs": 3, "shards": 2, "workers": 0}


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 40)) * (random.random((500, 40)) < 0.1)
    return x, x[:, :20].sum(axis=1) > x[:, 20:].sum(axis=1)


def sha(data, **settings):
    return distbp.train(data, **{**SETTINGS, **settings}).summary["weights_sha256"]


class Mine:
    """A user-defined data set of float rows."""

    def __init__(self, x, y):
        self.x, self.y = x, y
        self.most = 0

    def __len__(self):
        return len(self.x)

    def rows(self, indices):
        self.most = max(self.most, len(indices))
        return self.x[indices], self.y[indices]


@pytest.mark.parametrize("form", ["csr_matrix", "csr_array", "csc_matrix", "coo_array"])
def test_sparse_rows_give_the_bits_of_dense_ones(rows, form):
    x, y = rows
    sparse = getattr(scipy.sparse, form)(x)
    assert sha((sparse, y)) == sha((x, y))
    network = distbp.train((x, y), **SETTINGS).network
    assert network.outputs(sparse).tobytes() == network.outputs(x).tobytes()
    assert network.evaluate(sparse, y) == network.evaluate(x, y)


def test_sparse_rows_are_never_dense_all_at_once():
    random = np.random.default_rng(0)
    count, columns = 4000, 20_000  # 640 MB as float64
    x = scipy.sparse.csr_array(
        (np.ones(count * 10), random.integers(0, columns, count * 10), np.arange(0, count * 10 + 1, 10)),
        (count, columns),
    )
    y = np.asarray(x[:, : columns // 2].sum(axis=1)).ravel() > 5
    import tracemalloc

    tracemalloc.start()
    result = distbp.train((x, y), hidden=(2,), epochs=2, workers=0)
    result.network.predict(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 1024 * columns * 8  # blocks of 1024 rows


def test_duplicate_entries_are_summed():
    x = scipy.sparse.csr_array((np.ones(3), [1, 1, 0], [0, 2, 3]), (2, 2))
    assert np.asarray(SparseRows(x)).tolist() == [[0, 2], [1, 0]]
    assert np.asarray(SparseRows(x)[1:]).tolist() == [[1, 0]]
    assert x.nnz == 3  # the caller's matrix is unchanged


def test_a_user_defined_data_set_gives_the_bits_of_an_array(rows):
    mine = Mine(*rows)
    assert sha(mine) == sha(rows)
    assert sha(mine, early_stopping=2, class_weights="balanced") == sha(
        rows, early_stopping=2, class_weights="balanced"
    )


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_a_user_defined_data_set_is_sent_to_workers(rows):
    x, y = rows
    assert sha(Mine(*rows), workers=2) == sha(rows)
    assert sha((scipy.sparse.csr_array(x), y), workers=2) == sha(rows)


def test_pixels_of_a_user_defined_data_set_stay_bytes(rows):
    pixels = (np.abs(rows[0]) * 80).astype(np.uint8)
    assert sha(Mine(pixels, rows[1])) == sha((pixels, rows[1]))


class Weighted(Mine):
    def rows(self, indices):
        return *super().rows(indices), 1.0 + indices % 3


def test_a_user_defined_data_set_may_have_row_weights(rows):
    assert sha(Weighted(*rows)) == sha((*rows, 1.0 + np.arange(500) % 3))


class Wrong(Mine):
    def __init__(self, rows, answer):
        super().__init__(*rows)
        self.answer = answer

    def rows(self, indices):
        return self.answer(*super().rows(indices))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x, y: x, r"Wrong.rows must return \(x, y\) or \(x, y, weights\), found ndarray"),
        (lambda x, y: (x[1:], y), r"gave shapes \(499, 40\), \(500,\) for 500 rows"),
        (lambda x, y: (x * np.nan, y), "row 0 column 0 is nan: expected a finite number"),
        (lambda x, y: (x[:, 0], y), "expected as many rows in each"),
    ],
)
def test_an_invalid_data_set_is_refused(rows, answer, message):
    with pytest.raises(DataError, match=message):
        sha(Wrong(rows, answer))


class Changing:
    """5000 rows of which the last 904, read in a separate block, differ in form from the first."""

    def __init__(self, answer, when=lambda indices: indices.max() >= 4096):
        self.answer, self.when = answer, when

    def __len__(self):
        return 5000

    def rows(self, indices):
        x, y = np.ones((len(indices), 2), np.uint8), indices % 2
        return self.answer(x, y) if self.when(indices) else (x, y)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x, y: {}["a"], "Changing.rows failed for rows 4096 to 4999: KeyError: 'a'"),
        (lambda x, y: (x, [[1], [1, 2]]), "Changing.rows failed for rows 4096 to 4999: ValueError: "),
        (
            lambda x, y: (x, y, y + 1.0),
            r"Changing.rows gave .*float64 \(904,\) for rows 4096 to 4999, unlike .* before",
        ),
        (lambda x, y: (x[:, :1], y), r"gave uint8 \(904, 1\), int64 \(904,\) for rows 4096 to 4999, unlike uint8"),
        (lambda x, y: (x, y.astype(str)), "for rows 4096 to 4999, unlike"),
        (lambda x, y: (x * 0.5, y), "Changing.rows gave x as float64 for rows 4096 to 4999 and as uint8 for the first"),
    ],
)
def test_rows_that_differ_in_form_from_the_first_are_named(answer, message):
    with pytest.raises(DataError, match=message) as caught:
        sha(Changing(answer))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x, y: 1 / 0, r"Changing.rows failed for \d+ rows \(\d+, \d+, \d+, ..\): ZeroDivisionError: division"),
        (lambda x, y: (x * 0.5, y), r"Changing.rows gave x as float64 for \d+ rows .* and as uint8"),
        (lambda x, y: (x[:, :1], y), r"Changing.rows gave x of shape \(\d+, 1\) for \d+ rows"),
    ],
)
def test_rows_that_change_when_read_again_are_named(answer, message):
    with pytest.raises(DataError, match=message):
        sha(Changing(answer, lambda indices: indices[0] > indices[-1]))


def test_sparse_tables_must_be_single_and_finite(rows):
    x, y = rows
    sparse = scipy.sparse.csr_array(x)
    with pytest.raises(UsageError, match="cannot be joined with other data"):
        sha([(sparse, y), (sparse, y)])
    bad = sparse.copy()
    bad.data[-1] = np.inf
    with pytest.raises(DataError, match=r"x row \d+ holds inf: expected finite numbers"):
        sha((bad, y))


def test_batches_of_a_generator_become_arrays(rows):
    x, y = rows
    assert sha(distbp.from_batches((x[n : n + 77], y[n : n + 77]) for n in range(0, 500, 77))) == sha(rows)
    spent = iter(())
    with pytest.raises(DataError, match="there is no batch: a generator can be read only once"):
        distbp.from_batches(spent)
    with pytest.raises(DataError, match=r"batch 1 has x of shape \(2, 3\)"):
        distbp.from_batches([(x[:2], y[:2]), (x[:2, :3], y[:2])])


@pytest.mark.ray
@pytest.mark.long
# Ray Data warns about its own settings and use of pandas, and leaves sockets to the garbage collector.
@pytest.mark.filterwarnings("ignore:`use_(push_based_shuffle|polars|arrow_tensor_v2)` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index is deprecated")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_the_blocks_of_a_ray_data_set_keep_their_order(rows, shared_ray):
    data = pytest.importorskip("ray.data", reason="ray[data] is not installed")
    pandas = pytest.importorskip("pandas")
    x, y = rows
    frame = pandas.DataFrame({**{f"x{k}": column for k, column in enumerate(x.T)}, "target": y})
    told = data.from_pandas([frame[n : n + 70] for n in range(0, 500, 70)])
    before = told.context.execution_options.preserve_order
    assert sha(told) == sha(frame)
    assert told.context.execution_options.preserve_order == before


def test_shuffling_of_rows_can_be_turned_off(rows):
    x, y = rows
    backwards = (x[::-1].copy(), y[::-1].copy())
    assert sha(rows, shuffle=False) != sha(rows)
    assert sha(backwards, shuffle=False) != sha(rows, shuffle=False)
