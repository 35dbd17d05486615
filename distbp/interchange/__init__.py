"""Networks to and from the forms of other tools: ONNX, safetensors, PyTorch's names, scikit-learn's perceptrons."""

from distbp.interchange.estimators import from_sklearn
from distbp.interchange.onnx import to_onnx
from distbp.interchange.tensors import from_safetensors, to_safetensors, to_torch

__all__ = ["from_safetensors", "from_sklearn", "to_onnx", "to_safetensors", "to_torch"]
