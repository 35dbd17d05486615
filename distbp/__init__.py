"""Dense neural networks by data-parallel SGD: backpropagation on NumPy, workers and a parameter server on Ray.

Start with :func:`train`: it takes a built-in name, a file, a folder, arrays or your own data set, and any setting as a
keyword. It returns a :class:`Result` with the trained :class:`Network`.

    >>> import distbp
    >>> result = distbp.train("digits", workers=0, epochs=3)
    >>> result.network.predict(distbp.load("digits").test.x[:1]).shape
    (1,)

- settings: :class:`Config`; the number of workers never changes the result
- runs: :func:`train`, :func:`resume`, :class:`Trainer` for single steps, :class:`Callback` to observe and stop runs
- data: :func:`load`, :class:`RowSource` for your own data sets, :func:`from_batches` for generators
- networks: :class:`Network`, :func:`gradcheck`, :func:`to_onnx`, :func:`to_safetensors`, :func:`to_torch`,
  :func:`from_safetensors`, :func:`from_sklearn`
- errors: :class:`DistbpError` and its subclasses, each with a one-line message that states what to do

Further modules, each with an extra such as ``pip install 'distbp[sklearn]'``: ``distbp.sklearn`` (estimators),
``distbp.tune`` (Ray Tune trials), ``distbp.tracking`` (TensorBoard, MLflow, Ray metrics).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distbp.version import __version__

if TYPE_CHECKING:
    from distbp.config import Config as Config
    from distbp.data import DataSet as DataSet
    from distbp.data import RowSource as RowSource
    from distbp.data import from_batches as from_batches
    from distbp.data import load as load
    from distbp.data import prepare as prepare
    from distbp.errors import CallbackError as CallbackError
    from distbp.errors import DataError as DataError
    from distbp.errors import DistbpError as DistbpError
    from distbp.errors import TrainingError as TrainingError
    from distbp.errors import UsageError as UsageError
    from distbp.interchange import from_safetensors as from_safetensors
    from distbp.interchange import from_sklearn as from_sklearn
    from distbp.interchange import to_onnx as to_onnx
    from distbp.interchange import to_safetensors as to_safetensors
    from distbp.interchange import to_torch as to_torch
    from distbp.model.inspection import gradcheck as gradcheck
    from distbp.model.network import Evaluation as Evaluation
    from distbp.model.network import Network as Network
    from distbp.parallel.step.records import StepRecord as StepRecord
    from distbp.training.callbacks import Callback as Callback
    from distbp.training.callbacks import CheckpointRecord as CheckpointRecord
    from distbp.training.callbacks import EpochRecord as EpochRecord
    from distbp.training.callbacks import RecoveryRecord as RecoveryRecord
    from distbp.training.callbacks import RunRecord as RunRecord
    from distbp.training.result import Result as Result
    from distbp.training.train import resume as resume
    from distbp.training.train import train as train
    from distbp.training.trainer import Trainer as Trainer

_MODULES = {
    "Callback": "distbp.training.callbacks",
    "CallbackError": "distbp.errors",
    "CheckpointRecord": "distbp.training.callbacks",
    "Config": "distbp.config",
    "DataError": "distbp.errors",
    "DataSet": "distbp.data",
    "DistbpError": "distbp.errors",
    "EpochRecord": "distbp.training.callbacks",
    "Evaluation": "distbp.model.network",
    "Network": "distbp.model.network",
    "RecoveryRecord": "distbp.training.callbacks",
    "Result": "distbp.training.result",
    "RowSource": "distbp.data",
    "RunRecord": "distbp.training.callbacks",
    "StepRecord": "distbp.parallel.step.records",
    "Trainer": "distbp.training.trainer",
    "TrainingError": "distbp.errors",
    "UsageError": "distbp.errors",
    "from_batches": "distbp.data",
    "from_safetensors": "distbp.interchange",
    "from_sklearn": "distbp.interchange",
    "gradcheck": "distbp.model.inspection",
    "load": "distbp.data",
    "prepare": "distbp.data",
    "resume": "distbp.training.train",
    "to_onnx": "distbp.interchange",
    "to_safetensors": "distbp.interchange",
    "to_torch": "distbp.interchange",
    "train": "distbp.training.train",
}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import distbp`` and ``distbp --help`` stay fast."""
    if name not in _MODULES:
        raise AttributeError(f"module 'distbp' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
