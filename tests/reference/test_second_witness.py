"""Compare steps with PyTorch's autograd and torch.optim in float64, if it is installed.

Penalties are part of the loss, so that autograd computes their gradients. Where PyTorch differs (clipping with a small
constant, Nesterov) or has no counterpart (lion, max-norm), only the reference is compared.
"""

import numpy as np
import pytest
from reference.agreement import COMPUTING, Data, differ_by, problem_of
from reference.updates import RATES

from distbp import Trainer
from distbp.data.epoch_order import EpochOrder

torch = pytest.importorskip("torch", reason="PyTorch is not installed (it comes with the group bench)")


@pytest.fixture(autouse=True)
def torch_leaves_the_environment_alone(monkeypatch, tmp_path):
    """Set PyTorch's cache folder, which its optimizers would otherwise add to the environment."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))


random = np.random.default_rng(11)
X = random.normal(size=(25, 4))
CLASSES, VALUES = Data(X, random.integers(0, 3, 25)), Data(X, random.normal(size=(25, 2)) * 2)
COUNTED = CLASSES._replace(weights=random.random(25) * 3)
COUNTS, SHARES = Data(X, random.poisson(2.0, size=(25, 2)).astype(float)), Data(X, random.random(size=(25, 2)))
BASE = {"hidden": (5, 4), "activation": "tanh", "batch_size": 8, "epochs": 3, "shards": 3}
ACTIVATIONS = {
    "identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
    "leaky-relu": lambda z: torch.nn.functional.leaky_relu(z, 0.01), "elu": torch.nn.functional.elu,
    "gelu": lambda z: torch.nn.functional.gelu(z, approximate="tanh"), "softplus": torch.nn.functional.softplus,
    "swish": torch.nn.functional.silu, "softmax": lambda z: torch.softmax(z, 1),
}  # fmt: skip
OPTIMIZERS = {
    "sgd": lambda w, lr: torch.optim.SGD(w, lr, momentum=0.9),
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": lambda w, lr: torch.optim.AdamW(w, lr, weight_decay=0.01),
}
CASES = [
    *[(CLASSES, {"optimizer": name}) for name in OPTIMIZERS],
    *[(CLASSES, {"activation": name}) for name in ACTIVATIONS if name != "softmax"],
    *[(VALUES, {"output": name}) for name in ACTIVATIONS],
    (VALUES, {"cost": "mae"}), (VALUES, {"cost": "huber"}), (COUNTS, {"cost": "poisson"}),
    (SHARES, {"cost": "binary-cross-entropy"}), (CLASSES, {"cost": "binary-cross-entropy"}),
    (CLASSES, {"label_smoothing": 0.2}), (CLASSES, {"l1": 0.01, "l2": 0.1}), (CLASSES, {"clip_value": 0.03}),
    (CLASSES, {"class_weights": "balanced"}), (COUNTED, {}), (COUNTED, {"class_weights": {0: 3.0}}),
]  # fmt: skip
functional = torch.nn.functional


def costs_of(cost, output, z, y, smoothing):
    """Return the cost of each row."""
    if cost == "cross-entropy":
        return functional.cross_entropy(z, y, reduction="none", label_smoothing=smoothing)
    target = functional.one_hot(y, z.shape[1]).to(z.dtype) if y.ndim == 1 else y
    a = ACTIVATIONS[output](z)
    each = {
        "mse": lambda: functional.mse_loss(a, target, reduction="none"),
        "mae": lambda: functional.l1_loss(a, target, reduction="none"),
        "huber": lambda: functional.huber_loss(a, target, reduction="none"),
        "poisson": lambda: functional.poisson_nll_loss(a, target, log_input=False, reduction="none", eps=0),
        "binary-cross-entropy": lambda: functional.binary_cross_entropy_with_logits(z, target, reduction="none"),
    }
    return each[cost]().sum(1)


@pytest.mark.parametrize(("data", "added"), CASES, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_autograd_and_torch_optimizers_agree(data, added, tmp_path):
    settings = {**BASE, **added}
    problem = problem_of(data, settings)
    name = settings.get("optimizer", "adam")
    with Trainer(data.save(tmp_path / "data.npz"), **settings, **COMPUTING) as trainer:
        order = EpochOrder.of(trainer.config, 25)
        layers = trainer.structure.layers(trainer.network.weights)
        parameters = [torch.tensor(each.copy(), requires_grad=True) for layer in layers for each in layer]
        optimizer = OPTIMIZERS[name](parameters, RATES[name])
        for record in trainer:
            rows = order.rows(record.step).copy()
            a, counts = torch.tensor(X[rows]), torch.tensor(np.array(problem.weights)[rows])
            for l, activation in enumerate(problem.activations):
                z = a @ parameters[2 * l].T + parameters[2 * l + 1]
                a = ACTIVATIONS[activation](z)
            y = torch.tensor(data.y[rows])
            each = costs_of(problem.cost, problem.activations[-1], z, y, settings.get("label_smoothing", 0.0))
            cost = (counts * each).sum() / counts.sum()
            sizes = sum(w.abs().sum() for w in parameters[::2])
            squares = sum((w**2).sum() for w in parameters[::2])
            optimizer.zero_grad()
            (cost + settings.get("l1", 0.0) * sizes + settings.get("l2", 0.0) / 2 * squares).backward()
            if "clip_value" in settings:
                torch.nn.utils.clip_grad_value_(parameters, settings["clip_value"])
            optimizer.step()
            assert record.cost == pytest.approx(cost.item(), rel=1e-12)
            theirs = np.concatenate([each.detach().numpy().ravel() for each in parameters])
            assert differ_by(trainer.network.weights, theirs) < 1e-11
