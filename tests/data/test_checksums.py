"""Reading a row of a prepared array verifies only the blocks that hold it."""

from pathlib import Path

import numpy as np
import pytest

from distbp.data.prepared.checksums import CheckedArray, checksums_of
from distbp.errors import DataError

MIB = 1 << 20


def damaged(path: Path, array: np.ndarray, at: int) -> CheckedArray:
    """Write an array, damage one byte of its rows, and map it."""
    np.save(path, array)
    sums = checksums_of(path)
    with path.open("r+b") as file:
        file.seek(np.load(path, mmap_mode="r").offset + at)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    return CheckedArray.of(path, sums)


OFFSET = 128
"""Position of the rows in a file, after its header."""


@pytest.mark.parametrize(
    ("row_bytes", "at"),
    [
        pytest.param(3 * MIB, 4 * MIB + 77, id="rows of several blocks"),
        pytest.param(3 * MIB, 6 * MIB - 1, id="the last block of a row"),
        pytest.param(3 * MIB, 3 * MIB, id="the first block of a row"),
        pytest.param(600_000, 4 * MIB + 77, id="rows across blocks"),
        pytest.param(MIB - OFFSET, MIB, id="a row up to a block's last byte"),
        pytest.param(1000, 4 * MIB + 77, id="many rows in a block"),
    ],
)
def test_a_row_is_refused_if_and_only_if_it_reaches_into_a_damaged_block(
    tmp_path: Path, row_bytes: int, at: int
) -> None:
    rows = 9 * MIB // row_bytes
    array = damaged(tmp_path / "a.npy", np.zeros((rows, row_bytes), np.uint8), at)
    block = (OFFSET + at) // MIB
    hit = [
        row
        for row in range(rows)
        if (OFFSET + row * row_bytes) // MIB <= block <= (OFFSET + (row + 1) * row_bytes - 1) // MIB
    ]
    assert 0 < len(hit) < rows
    for row in {0, hit[0] - 1, hit[-1] + 1, rows - 1} - {-1, rows} - set(hit):
        assert not array[row].any()
    for row in {hit[0], hit[len(hit) // 2], hit[-1]}:
        with pytest.raises(DataError, match=f"is damaged within its bytes {block * MIB:,} to"):
            array[row]
        with pytest.raises(DataError, match="is damaged"):
            np.take(array, [row], axis=0)
