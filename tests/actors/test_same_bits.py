from pathlib import Path

import numpy as np
import pytest
from callers import Notes, Sine

import distbp

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


def sha(data: object, workers: int, **settings: object) -> str:
    return distbp.train(data, workers=workers, **settings).summary["weights_sha256"]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"shards": 4, "epochs": 2}, marks=pytest.mark.long),
        {"shards": 3, "batch_size": 100, "optimizer": "sgd", "nesterov": True, "epochs": 2},
        pytest.param(
            {"shards": 5, "batch_size": 130, "dtype": "float64", "activation": "tanh", "epochs": 1},
            marks=pytest.mark.long,
        ),
    ],
    ids=["adam", "uneven shards", "float64"],
)
def test_every_number_of_workers_gives_the_same_bits(settings: dict[str, object]) -> None:
    alone = sha("digits", 0, **settings)
    assert [sha("digits", workers, **settings) for workers in (1, 2, 3)] == [alone] * 3


class Quartic:
    """A user-defined cost."""

    def value(self, a, y):
        return ((a - y) ** 4).sum(axis=1)

    def derivative(self, a, y):
        return 4 * (a - y) ** 3


class SignDescent:
    """A user-defined optimizer."""

    slots = ()

    def update(self, old, new, gradient, step, lr, scratch):
        np.subtract(old[0], lr * np.sign(gradient), out=new[0])


class Halves:
    """A user-defined schedule."""

    def factor(self, step, steps):
        return 1.0 if 2 * step < steps else 0.5


@pytest.mark.parametrize(
    "settings",
    [
        {
            "activation": Sine(),
            "cost": Quartic(),
            "output": "sigmoid",
            "optimizer": SignDescent(),
            "lr": 0.002,
            "schedule": Halves(),
        },
        {
            "dropout": 0.2,
            "clip_norm": 0.1,
            "max_norm": 2.0,
            "schedule": "plateau",
            "optimizer": "sgd",
            "lr": 0.3,
            "class_weights": "balanced",
            "validation_fraction": 0.2,
            "epochs": 6,
        },
    ],
    ids=["own parts", "clipped, plateau"],
)
def test_parts_of_the_users_own_and_rules_of_the_server_give_the_same_bits(settings: dict[str, object]) -> None:
    settings = {"epochs": 2, "shards": 4, **settings}
    alone = distbp.train("digits", workers=0, **settings)
    two = distbp.train("digits", workers=2, **settings)
    assert two.summary["weights_sha256"] == alone.summary["weights_sha256"]
    for here, there in zip(alone.history, two.history, strict=True):
        assert (here["lr"], here["findings"], here["noise_scale"]) == (
            there["lr"],
            there["findings"],
            there["noise_scale"],
        )
        assert here["layers"] == there["layers"]


def test_a_last_mini_batch_with_fewer_rows_than_shards_gives_the_same_bits(rng: np.random.Generator) -> None:
    data = (rng.random((70, 5)), rng.integers(0, 3, 70))
    settings = {"batch_size": 9, "shards": 4, "epochs": 2, "hidden": (6,)}  # 56 training rows: 6 steps of 9, then 2
    assert sha(data, 3, **settings) == sha(data, 0, **settings)


@pytest.mark.long
def test_workers_beyond_the_shards_stay_idle_with_a_note() -> None:
    told = Notes()
    result = distbp.train("digits", workers=3, shards=2, epochs=1, callbacks=[told])
    assert result.summary["weights_sha256"] == sha("digits", 0, shards=2, epochs=1)
    assert any("1 of 3 workers stay idle" in note and "--shards 3" in note for note in told.notes)


def test_a_table_gives_the_same_bits_on_workers(tmp_path: Path, rng: np.random.Generator) -> None:
    size, colour = rng.normal(size=600), rng.choice(["red", "green", ""], 600)
    lines = [f"{number:.4f},{word},{number > 0}" for number, word in zip(size, colour, strict=True)]
    (tmp_path / "table.csv").write_text("\n".join(["size,colour,large", *lines]))
    settings = {"target": "large", "epochs": 2, "shards": 3, "hidden": (8,), "dropout": 0.1}
    assert sha(tmp_path / "table.csv", 2, **settings) == sha(tmp_path / "table.csv", 0, **settings)


@pytest.mark.long
def test_two_workers_give_the_bits_of_one_process_on_mnist(data_folder: object) -> None:
    settings = {"shards": 4, "epochs": 1, "batch_size": 500, "hidden": (64,)}
    data = distbp.load(data_folder / "mnist")
    assert sha(data, 2, **settings) == sha(data, 0, **settings)


def test_a_diverging_run_names_step_and_layer_and_keeps_the_last_weights(tmp_path: object) -> None:
    from distbp.errors import DivergedError
    from distbp.files.tensors import read_tensors

    x = np.random.default_rng(0).random((200, 3), dtype=np.float32)
    y = x @ np.array([[1.0], [2.0], [3.0]], dtype=np.float32)
    settings = {"optimizer": "sgd", "lr": 1e4, "epochs": 5, "hidden": (8,), "run_dir": tmp_path / "run"}
    with pytest.raises(DivergedError, match=r"(of|after) step \d+ .* layer \d"):
        distbp.train((x, y), workers=2, **settings)
    kept = max((tmp_path / "run" / "checkpoints").iterdir())
    assert np.isfinite(read_tensors(kept)[0]["weights"]).all()
