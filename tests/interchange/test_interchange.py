"""Exported networks give the same predictions in the tools that read them."""

import json

import numpy as np
import pytest
from callers import Sine
from safetensors.numpy import load_file
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.neural_network import MLPClassifier, MLPRegressor

import distbp
from distbp.cli import run
from distbp.config import CHOICES
from distbp.errors import RunError, UsageError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, distbp.train("digits", workers=0, hidden=(32, 16), epochs=8, run_dir=folder).network


@pytest.fixture
def pixels(digits):
    return digits.test.x, (digits.test.x * np.float32(1 / 16)).astype(np.float32)


def by_runtime(path, **inputs):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def test_onnx_predicts_digits(trained, pixels, tmp_path, digits):
    _, network = trained
    distbp.to_onnx(network, tmp_path / "a.onnx")
    found = by_runtime(tmp_path / "a.onnx", x=pixels[1])
    assert found["label"].tolist() == network.predict(pixels[1]).tolist()
    assert found["probabilities"] == pytest.approx(network.probabilities(pixels[1]), abs=1e-6)
    distbp.to_onnx(network, tmp_path / "b.onnx", pixels=True)
    found = by_runtime(tmp_path / "b.onnx", x=pixels[0])
    assert found["probabilities"] == pytest.approx(network.probabilities(digits.test.x), abs=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", CHOICES["activation"])
def test_onnx_supports_every_activation(activation, dtype, tmp_path):
    network = distbp.Network((6, 9, 5, 3), activation, seed=2, dtype=dtype, classes=("a", "b", "c"))
    x = np.random.default_rng(0).normal(0, 3, size=(50, 6)).astype(dtype)
    distbp.to_onnx(network, tmp_path / "a.onnx")
    found = by_runtime(tmp_path / "a.onnx", x=x)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    assert found["probabilities"] == pytest.approx(network.probabilities(x), abs=tolerance)
    assert found["label"].tolist() == network.predict(x).tolist()


@pytest.mark.parametrize("output", ["sigmoid", "tanh", "identity", "gelu"])
def test_onnx_gives_two_classes_for_one_node(output, tmp_path):
    network = distbp.Network((3, 4, 1), "tanh", output=output, cost="mse", seed=1, classes=(False, True))
    x = np.random.default_rng(0).normal(0, 3, size=(200, 3)).astype("float32")
    distbp.to_onnx(network, tmp_path / "a.onnx")
    found = by_runtime(tmp_path / "a.onnx", x=x)
    assert found["label"].astype(bool).tolist() == network.predict(x).tolist()
    assert found["probabilities"] == pytest.approx(network.probabilities(x), abs=1e-6)


@pytest.mark.parametrize("output", ["sigmoid", "tanh", "identity", "gelu", "softmax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_onnx_normalises_outputs_as_predict_does(output, dtype, tmp_path):
    network = distbp.Network((3, 3), (), output, "mse", dtype=dtype, classes=("a", "b", "c"))
    network.weights[:] = [*np.eye(3).ravel(), 0, 0, 0]
    x = np.array([[-3, -0.75, -1], [0.5, 0.25, 0.5], [-1, -2, -3], [-4, 2, 3], [0, 0, 0]], dtype)
    distbp.to_onnx(network, tmp_path / "a.onnx")
    found = by_runtime(tmp_path / "a.onnx", x=x)
    assert found["probabilities"] == pytest.approx(network.probabilities(x), abs=1e-6)
    assert found["label"].tolist() == network.predict(x).tolist()


def test_onnx_normalises_outputs_whose_sum_overflows_float32(tmp_path):
    network = distbp.Network((2, 3), (), "relu", "mse", classes="abc")
    network.weights[:] = [*[0] * 6, 3e38, 1e38, -1]
    distbp.to_onnx(network, tmp_path / "a.onnx")
    found = by_runtime(tmp_path / "a.onnx", x=np.zeros((1, 2), np.float32))
    assert found["probabilities"] == pytest.approx(np.array([[0.75, 0.25, 0]]))


def test_onnx_gives_the_values_of_a_regression(tmp_path):
    network = distbp.Network((3, 4, 2), "relu", output="identity", cost="mse", seed=1)
    x = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    distbp.to_onnx(network, tmp_path / "a.onnx")
    assert by_runtime(tmp_path / "a.onnx", x=x)["values"] == pytest.approx(network.predict(x), abs=1e-6)


def test_networks_that_onnx_cannot_express_are_refused(tmp_path):
    network = distbp.Network((3, 4, 2), Sine())
    with pytest.raises(UsageError, match="ONNX has no activation Sine"):
        distbp.to_onnx(network, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("write", [distbp.to_safetensors, distbp.to_torch])
def test_export_and_import_preserve_every_bit(write, dtype, tmp_path):
    network = distbp.Network((5, 4, 3), "gelu", seed=7, dtype=dtype, classes=("x", "y", "z"))
    write(network, tmp_path / "a.safetensors")
    again = distbp.from_safetensors(tmp_path / "a.safetensors")
    assert again.weights.dtype == network.weights.dtype
    assert again.weights.tobytes() == network.weights.tobytes()
    assert (again.structure, again.classes, again.byte_factor) == (network.structure, network.classes, 1 / 255)


def test_an_imported_network_can_be_trained(trained, tmp_path):
    _, network = trained
    distbp.to_torch(network, tmp_path / "a.safetensors")
    again = distbp.from_safetensors(tmp_path / "a.safetensors")
    settings = {"workers": 0, "epochs": 2}
    assert (
        distbp.train("digits", network=again, **settings).summary["weights_sha256"]
        == distbp.train("digits", network=network, **settings).summary["weights_sha256"]
    )


def test_the_names_are_those_of_a_torch_sequential(tmp_path):
    network = distbp.Network((5, 4, 3), "relu", seed=7)
    distbp.to_torch(network, tmp_path / "a.safetensors")
    found = load_file(tmp_path / "a.safetensors")
    assert {name: tensor.shape for name, tensor in found.items()} == {
        "0.weight": (4, 5),
        "0.bias": (4,),
        "2.weight": (3, 4),
        "2.bias": (3,),
    }
    x = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    z = np.maximum(x @ found["0.weight"].T + found["0.bias"], 0) @ found["2.weight"].T + found["2.bias"]
    assert np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) == pytest.approx(network.outputs(x), abs=1e-6)


def test_torch_reads_an_export_and_is_imported(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    def sequential():
        return torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))

    network = distbp.Network((5, 4, 3), "relu", seed=7)
    distbp.to_torch(network, tmp_path / "a.safetensors")
    model = sequential()
    model.load_state_dict(load_torch(tmp_path / "a.safetensors"))
    x = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    probabilities = torch.softmax(model(torch.from_numpy(x)), dim=1).detach().numpy()
    assert probabilities == pytest.approx(network.outputs(x), abs=1e-6)
    other = sequential()
    save_torch(other.state_dict(), tmp_path / "b.safetensors")
    read = distbp.from_safetensors(tmp_path / "b.safetensors", activation="relu")
    probabilities = torch.softmax(other(torch.from_numpy(x)), dim=1).detach().numpy()
    assert read.outputs(x) == pytest.approx(probabilities, abs=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["classes", "two classes", "labels", "values"])
def test_perceptrons_of_scikit_learn_are_imported(kind):
    x, y = load_iris(return_X_y=True)
    settings = {"hidden_layer_sizes": (6, 5), "activation": "logistic", "max_iter": 20, "random_state": 0}
    if kind == "values":
        theirs = MLPRegressor(**settings).fit(x[:, :3], x[:, 3])
        assert distbp.from_sklearn(theirs).predict(x[:, :3])[:, 0] == pytest.approx(theirs.predict(x[:, :3]))
        return
    if kind == "two classes":
        x, y = x[:100], np.array(["no", "yes"])[y[:100]]
    if kind == "labels":
        x, y = make_multilabel_classification(100, random_state=0)
    theirs = MLPClassifier(**settings).fit(x, y)
    network = distbp.from_sklearn(theirs)
    assert network.probabilities(x) == pytest.approx(theirs.predict_proba(x))
    if kind != "labels":
        assert network.predict(x).tolist() == theirs.predict(x).tolist()
        assert distbp.train((x, y), network=network, workers=0, epochs=1, dtype="float64").network.classes


def test_objects_that_are_not_perceptrons_are_refused():
    with pytest.raises(UsageError, match="MLPClassifier is no fitted"):
        distbp.from_sklearn(MLPClassifier())
    poisson = MLPRegressor(loss="poisson", max_iter=1000, tol=0.1).fit([[1.0], [2.0]], [1, 2])
    with pytest.raises(UsageError, match="distbp has no output activation exp"):
        distbp.from_sklearn(poisson)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": np.zeros(3)}, "holds 'a': expected w1, b1, .. or 0.weight"),
        ({"w1": np.zeros((3, 2)), "b1": np.zeros(2)}, r"layer 1 of .* no linear layer"),
        ({"w1": np.zeros((3, 2))}, "holds no network that can be read: 'b'"),
        (
            {"0.weight": np.zeros((3, 2)), "0.bias": np.zeros(3), "1.weight": np.zeros((2, 4)), "1.bias": np.zeros(2)},
            "layer 2 of .* has 4 inputs, the one before 3 nodes",
        ),
        (
            {
                f"{of}.0.{kind}": np.zeros((2, 2)[:n])
                for of in ("enc", "dec")
                for n, kind in ((1, "bias"), (2, "weight"))
            },
            "holds 'dec.0.bias' and 'enc.0.bias': expected the layers of one network",
        ),
        (
            {"w1": np.zeros((2, 2)), "b1": np.zeros(2), "0.weight": np.zeros((2, 2)), "0.bias": np.zeros(2)},
            "expected the layers of one network, named alike",
        ),
        (
            {"w1": np.zeros((2, 2)), "w01": np.zeros((2, 2)), "b1": np.zeros(2)},
            "holds 'w01' and 'w1', which are the same layer",
        ),
    ],
)
def test_what_is_no_network_is_said(tensors, message, tmp_path):
    from safetensors.numpy import save_file

    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(RunError, match=message):
        distbp.from_safetensors(tmp_path / "a.safetensors")


def test_the_command_writes_all_formats(trained, tmp_path, capsys):
    folder, network = trained
    paths = {form: tmp_path / form for form in ("onnx", "safetensors", "torch")}
    arguments = [part for form, path in paths.items() for part in (f"--{form}", str(path))]
    assert run(["export", str(folder), *arguments], 0.0) == 0
    assert all(path.stat().st_size > network.weights.nbytes for path in paths.values())
    again = distbp.from_safetensors(paths["safetensors"])
    assert again.weights.tobytes() == network.weights.tobytes()
    assert run(["export", str(folder)], 0.0) == 2
    assert "no format is given: use --onnx FILE" in capsys.readouterr().err
    assert json.loads((folder / "model.json").read_text())["classes"] == list(range(10))


def test_a_missing_package_is_named(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert run(["export", str(trained[0]), "--onnx", str(tmp_path / "a.onnx")], 0.0) == 1
    assert "pip install 'distbp[onnx]'" in capsys.readouterr().err


def test_the_command_writes_all_formats_or_none(tmp_path, capsys):
    network = distbp.Network((6, 4, 2), seed=1, connections=[[[1, 0] * 3] * 4, None])
    network.save(tmp_path / "model")
    (tmp_path / "b").write_text("before")
    asked = ["export", str(tmp_path / "model"), "--onnx", str(tmp_path / "a"), "--torch", str(tmp_path / "b")]
    assert run(asked, 0.0) == 1
    error = capsys.readouterr().err
    assert "--torch: the network omits connections" in error and "; nothing was written" in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "model"]
    assert (tmp_path / "b").read_text() == "before"


def test_no_file_is_written_if_one_cannot_be(trained, tmp_path, capsys):
    nowhere = tmp_path / "no folder" / "b"
    asked = ["export", str(trained[0]), "--safetensors", str(tmp_path / "a"), "--torch", str(nowhere)]
    assert run(asked, 0.0) == 1
    assert f"{nowhere} cannot be written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_two_formats_need_two_files(trained, tmp_path, capsys):
    (tmp_path / "link").symlink_to(tmp_path / "a")
    asked = ["export", str(trained[0]), "--safetensors", str(tmp_path / "a"), "--torch", str(tmp_path / "link")]
    assert run(asked, 0.0) == 2
    assert "the same file" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("form", [distbp.to_safetensors, distbp.to_torch])
def test_removed_connections_are_refused_for_other_tools(form, tmp_path):
    network = distbp.Network((6, 4, 2), seed=1, connections=[[[1, 0] * 3] * 4, None])
    with pytest.raises(UsageError, match="omits connections"):
        form(network, tmp_path / "a")
    assert not list(tmp_path.iterdir())
