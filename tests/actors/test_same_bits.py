import numpy as np
import pytest

import distbp

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


def sha(data: object, workers: int, **settings: object) -> str:
    return distbp.train(data, workers=workers, **settings).summary["weights_sha256"]


@pytest.mark.parametrize(
    "settings",
    [
        {"shards": 4, "epochs": 2},
        {"shards": 3, "batch_size": 100, "optimizer": "sgd", "nesterov": True, "epochs": 2},
        {"shards": 5, "batch_size": 130, "dtype": "float64", "activation": "tanh", "epochs": 1},
    ],
    ids=["adam", "uneven shards", "float64"],
)
def test_every_number_of_workers_gives_the_same_bits(settings: dict[str, object]) -> None:
    alone = sha("digits", 0, **settings)
    assert [sha("digits", workers, **settings) for workers in (1, 2, 3)] == [alone] * 3


def test_last_mini_batch_with_fewer_rows_than_shards(rng: np.random.Generator) -> None:
    data = (rng.random((70, 5)), rng.integers(0, 3, 70))
    settings = {"batch_size": 9, "shards": 4, "epochs": 2, "hidden": (6,)}  # 56 training rows: 6 steps of 9, then 2
    assert sha(data, 3, **settings) == sha(data, 0, **settings)


def test_workers_beyond_the_shards_stay_idle_and_the_run_says_so() -> None:
    notes = []

    class Notes(distbp.Callback):
        def on_note(self, text: str) -> None:
            notes.append(text)

    result = distbp.train("digits", workers=3, shards=2, epochs=1, callbacks=[Notes()])
    assert result.summary["weights_sha256"] == sha("digits", 0, shards=2, epochs=1)
    assert any("1 of 3 workers stay idle" in note and "--shards 3" in note for note in notes)


def test_mnist_in_two_processes_equals_one(data_folder: object) -> None:
    settings = {"shards": 4, "epochs": 1, "batch_size": 500, "hidden": (64,)}
    data = distbp.load(data_folder / "mnist")
    assert sha(data, 2, **settings) == sha(data, 0, **settings)


def test_a_run_that_diverges_names_step_and_layer_and_keeps_the_weights_before_it(tmp_path: object) -> None:
    from distbp.errors import DivergedError
    from distbp.runs.files import read_tensors

    x = np.random.default_rng(0).random((200, 3), dtype=np.float32)
    y = x @ np.array([[1.0], [2.0], [3.0]], dtype=np.float32)
    settings = {"optimizer": "sgd", "lr": 1e4, "epochs": 5, "hidden": (8,), "run_dir": tmp_path / "run"}
    with pytest.raises(DivergedError, match=r"of step \d+ .* layer \d"):
        distbp.train((x, y), workers=2, **settings)
    kept = max((tmp_path / "run" / "checkpoints").iterdir())
    assert np.isfinite(read_tensors(kept)[0]["weights"]).all()
