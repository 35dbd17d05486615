import numpy as np
import psutil
import pytest

import distbp
from distbp.data.dataset import Rows
from distbp.errors import PeerLostError
from distbp.nn.structure import Structure
from distbp.parallel.pool import InProcess
from distbp.pools import initial_state
from distbp.runs.files import read_tensors

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


class KillAt(distbp.Callback):
    """Kills an actor when a step is seen."""

    def __init__(self, name, step):
        self.name, self.step = name, step

    def on_step(self, record):
        if record.step == self.step:
            for process in psutil.Process().children(recursive=True):
                if " ".join(process.cmdline()).startswith(f"ray::{self.name}."):
                    process.kill()
                    return


@pytest.mark.parametrize("name", ["_Worker", "_Server"])
def test_the_checkpoint_of_a_failed_run_is_the_state_after_the_step_that_it_names(tmp_path, rng, name):
    x, y = rng.random((40_000, 16), dtype=np.float32), rng.integers(0, 3, 40_000)
    data = distbp.load((x, y))
    settings = {"workers": 2, "batch_size": 32, "shards": 2, "hidden": (24,), "epochs": 3, "optimizer": "sgd"}
    with pytest.raises(PeerLostError):
        distbp.train(data, run_dir=tmp_path / "run", callbacks=[KillAt(name, 200)], **settings)
    (kept,) = (tmp_path / "run" / "checkpoints").iterdir()
    tensors, texts = read_tensors(kept)
    config = distbp.Config(**{**settings, "workers": 0}).for_task("classification")
    structure = Structure((16, 24, 3), ("relu", "softmax"), "cross-entropy")
    rows = Rows(data.train.x, data.train.y)
    alone = InProcess(structure, config, rows, initial_state(structure, config))
    for _ in alone.steps(int(texts["step"])):
        pass
    assert int(texts["step"]) > 200
    assert tensors["weights"].tobytes() == alone.state()[0].tobytes()
    assert tensors["velocity"].tobytes() == alone.state()[1].tobytes()
