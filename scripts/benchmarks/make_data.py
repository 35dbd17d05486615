"""Make data in several formats and sizes.

make_data.py mnist IDX_FOLDER OUT [--rows N]   the same pictures as folders of PNG (OUT/images), OUT/mnist.npz, and
                                               OUT/train.parquet with OUT/test.parquet
make_data.py table OUT.csv [--rows N]          28 numeric columns, and a column y of two classes that depends on them
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from PIL import Image

from distbp.data.formats.idx import read_idx_folder

COLUMNS = 28
ROWS_AT_A_TIME = 100_000


def mnist(source: Path, out: Path, rows: int | None) -> None:
    """Write the images of the IDX files in all other formats; a PNG file is named by its row."""
    parts = {name: array[:rows] for name, array in read_idx_folder(source).items()}
    for part in ("train", "test"):
        x, y = parts[f"x_{part}"], parts[f"y_{part}"]
        for row, (image, label) in enumerate(zip(x, y, strict=True)):
            folder = out / "images" / part / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{row:05}.png")
        pixels = {f"pixel{k}": np.ascontiguousarray(pixel) for k, pixel in enumerate(x.reshape(len(x), -1).T)}
        pyarrow.parquet.write_table(pa.table({**pixels, "label": y}), out / f"{part}.parquet")
    with (out / "mnist.npz").open("wb") as file:
        np.savez(file, **parts)


def table(out: Path, rows: int) -> None:
    """Write a table with this many rows; its content is deterministic."""
    random = np.random.default_rng(0)
    direction = random.standard_normal(COLUMNS)
    names = [f"x{number}" for number in range(COLUMNS)]
    schema = pa.schema([*((name, pa.float64()) for name in names), ("y", pa.int8())])
    with pyarrow.csv.CSVWriter(out, schema) as writer:
        for first in range(0, rows, ROWS_AT_A_TIME):
            x = random.standard_normal((min(ROWS_AT_A_TIME, rows - first), COLUMNS))
            classes = (x @ direction + random.standard_normal(len(x)) > 0).astype(np.int8)
            writer.write_table(pa.table([*x.T.copy(), classes], schema=schema))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    pictures = kinds.add_parser("mnist")
    pictures.add_argument("source", type=Path)
    pictures.add_argument("out", type=Path)
    pictures.add_argument("--rows", type=int, help="of each part; default: all")
    numbers = kinds.add_parser("table")
    numbers.add_argument("out", type=Path)
    numbers.add_argument("--rows", type=int, default=10_000_000, help="default: %(default)s")
    options = parser.parse_args()
    if options.kind == "mnist":
        mnist(options.source, options.out, options.rows)
    else:
        table(options.out, options.rows)


if __name__ == "__main__":
    main()
