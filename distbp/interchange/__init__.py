"""Export and import of networks: ONNX, safetensors, PyTorch's state dicts, scikit-learn's perceptrons."""

from distbp.interchange.estimators import from_sklearn
from distbp.interchange.onnx import onnx_content, to_onnx
from distbp.interchange.tensors import from_safetensors, safetensors_content, to_safetensors, to_torch, torch_content

__all__ = [
    "from_safetensors",
    "from_sklearn",
    "onnx_content",
    "safetensors_content",
    "to_onnx",
    "to_safetensors",
    "to_torch",
    "torch_content",
]
