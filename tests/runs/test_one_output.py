"""A network of one output, and one of a single input, are resumed from their checkpoints too."""

from pathlib import Path

import numpy as np

import distbp
from distbp.runs.checkpoints import check_described, newest_checkpoint


def test_the_checkpoint_of_a_network_of_one_input_and_one_output_is_read_again(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 40)[:, np.newaxis]
    notes: list[str] = []
    distbp.train((x, 3 * x[:, 0]), workers=0, epochs=1, hidden=(2,), run_dir=tmp_path / "run")
    found = newest_checkpoint(tmp_path / "run" / "checkpoints", notes.append, check_described)
    assert notes == []
    assert found is not None
    assert list(found.described["structure"]["sizes"]) == [1, 2, 1]
